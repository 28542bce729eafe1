//! The REST calls of Apps: the App itself, its installations, their tokens, and its webhooks' deliveries.

use serde_json::{Map, Value, json};

use super::{Answer, Call};
use crate::refusal::Refusal;
use crate::shapes;
use crate::world::World;
use crate::world::model::{App, Caller, Installation, Level, Token, TokenLimits};

/// `/app…`: calls of an App with a signed claim.
pub(crate) fn app(world: &mut World, call: &Call<'_>, rest: &[&str]) -> Result<Answer, Refusal> {
    let id = signed(call)?;
    match (call.method, rest) {
        ("GET", []) => Ok(Answer::ok(describe_app(world, id, call.api))),
        ("GET", ["installations"]) => {
            let own = world.installations.values().filter(|installation| installation.app == id);
            let list = own.map(|installation| describe(world, installation, call.api)).collect();
            Ok(call.bare_page(list))
        }
        ("GET", ["installations", number]) => {
            let installation = world.installation(id, parsed(number)?)?;
            Ok(Answer::ok(describe(world, installation, call.api)))
        }
        ("DELETE", ["installations", number]) => {
            let number = world.installation(id, parsed(number)?)?.id;
            world.installations.remove(&number);
            Ok(Answer::empty(204))
        }
        ("POST", ["installations", number, "access_tokens"]) => new_token(world, call, id, parsed(number)?),
        ("GET", ["hook", "deliveries"]) => {
            let all = world.deliveries_of_app(id);
            Ok(call.cursor_page(all.into_iter().map(|delivery| (delivery.id, shapes::delivery(delivery))).collect()))
        }
        ("POST", ["hook", "deliveries", number, "attempts"]) => {
            world.redeliver(id, parsed(number)?, call.now).ok_or(Refusal::NotFound)?;
            Ok(Answer { status: 202, body: Some(json!({})), pages: None })
        }
        _ => Err(Refusal::NotFound),
    }
}

/// `GET …/installation` of an organization or a repository.
pub(crate) fn installation_for(world: &World, call: &Call<'_>, owner: &str) -> Result<Answer, Refusal> {
    let id = signed(call)?;
    let fits =
        |installation: &&Installation| installation.app == id && installation.account.eq_ignore_ascii_case(owner);
    let installation = world.installations.values().find(fits).ok_or(Refusal::NotFound)?;
    Ok(Answer::ok(describe(world, installation, call.api)))
}

/// `GET /installation/repositories`, with an installation token.
pub(crate) fn repositories(world: &World, call: &Call<'_>) -> Result<Answer, Refusal> {
    let account = world.account(call.caller)?;
    let Some(owner) = &account.owner else {
        return Err(Refusal::Forbidden { accepted: "metadata=read".into(), kind: account.kind.clone() });
    };
    let names = world.repositories_of(owner, &account.token.repositories);
    let list = names.iter().map(|name| shapes::full_repository(name, call.api)).collect();
    let mut answer = call.page("repositories", list);
    if let Some(body) = answer.body.as_mut() {
        body["repository_selection"] = selection(&account.token).into();
    }
    Ok(answer)
}

fn signed(call: &Call<'_>) -> Result<u64, Refusal> {
    match call.caller {
        Caller::App(id) => Ok(*id),
        _ => Err(Refusal::AppsOnly),
    }
}

fn parsed(number: &str) -> Result<u64, Refusal> {
    number.parse().map_err(|_| Refusal::NotFound)
}

fn new_token(world: &mut World, call: &Call<'_>, app: u64, installation: u64) -> Result<Answer, Refusal> {
    let token_limits = token_limits(call.body)?;
    let new = world.installation_token(app, installation, &token_limits, call.now)?;
    let mut body = json!({
        "token": new.secret,
        "expires_at": shapes::whole_seconds(new.expires_at),
        "permissions": permissions(&new.grants),
        "repository_selection": if new.selected { "selected" } else { "all" },
    });
    if token_limits.repositories.is_some() || token_limits.repository_ids.is_some() {
        let list: Vec<Value> =
            new.grants.repositories.iter().map(|name| shapes::full_repository(name, call.api)).collect();
        body["repositories"] = list.into();
    }
    Ok(Answer::created(body))
}

fn token_limits(body: &[u8]) -> Result<TokenLimits, Refusal> {
    if body.is_empty() {
        return Ok(TokenLimits::default());
    }
    let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::BadJson)?;
    let level = |word: &Value| word.as_str().map_or(Level::None, Level::of_word);
    let permissions = body["permissions"].as_object();
    let words = |list: &Value| -> Option<Vec<String>> {
        list.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
    };
    let numbers = |list: &Value| -> Option<Vec<u64>> { list.as_array()?.iter().map(Value::as_u64).collect() };
    Ok(TokenLimits {
        permissions: permissions.map(|all| all.iter().map(|(name, word)| (name.clone(), level(word))).collect()),
        repositories: words(&body["repositories"]),
        repository_ids: numbers(&body["repository_ids"]),
    })
}

fn permissions(token: &Token) -> Value {
    let all = [
        ("actions", token.actions),
        ("administration", token.administration),
        ("organization_self_hosted_runners", token.organization_runners),
        ("metadata", Level::Read),
    ];
    let granted = all.into_iter().filter_map(|(name, level)| Some((name.to_owned(), level.word()?.into())));
    Value::Object(granted.collect::<Map<_, _>>())
}

fn selection(token: &Token) -> &'static str {
    if token.repositories.is_empty() { "all" } else { "selected" }
}

fn slug(app: &App) -> String {
    app.name.to_lowercase().replace(' ', "-")
}

fn describe_app(world: &World, id: u64, api: &str) -> Value {
    let Some(app) = world.apps.get(&id) else { return Value::Null };
    let installations = world.installations.values().filter(|installation| installation.app == id).count();
    json!({
        "id": id,
        "client_id": app.client_id,
        "slug": slug(app),
        "node_id": format!("A_{id}"),
        "owner": shapes::user(&app.owner, api),
        "name": app.name,
        "description": null,
        "external_url": format!("{api}/apps/{}", slug(app)),
        "html_url": format!("{api}/apps/{}", slug(app)),
        "created_at": shapes::whole_seconds(app.created_at),
        "updated_at": shapes::whole_seconds(app.created_at),
        "permissions": permissions(&app.permissions),
        "events": ["workflow_job"],
        "installations_count": installations,
    })
}

fn describe(world: &World, installation: &Installation, api: &str) -> Value {
    let app = world.apps.get(&installation.app);
    let organization = world.organizations.iter().any(|login| login.eq_ignore_ascii_case(&installation.account));
    let at = shapes::whole_seconds(installation.created_at);
    json!({
        "id": installation.id,
        "client_id": app.map(|app| app.client_id.clone()).unwrap_or_default(),
        "account": shapes::user(&installation.account, api),
        "repository_selection": selection(&installation.grants),
        "access_tokens_url": format!("{api}/app/installations/{}/access_tokens", installation.id),
        "repositories_url": format!("{api}/installation/repositories"),
        "html_url": format!("{api}/settings/installations/{}", installation.id),
        "app_id": installation.app,
        "app_slug": app.map(slug).unwrap_or_default(),
        "target_id": shapes::number_of(&installation.account),
        "target_type": if organization { "Organization" } else { "User" },
        "permissions": permissions(&installation.grants),
        "events": ["workflow_job"],
        "single_file_name": null,
        "has_multiple_single_files": false,
        "single_file_paths": [],
        "created_at": at,
        "updated_at": at,
        "suspended_by": if installation.suspended { shapes::user(&installation.account, api) } else { Value::Null },
        "suspended_at": if installation.suspended { at.clone().into() } else { Value::Null },
    })
}
