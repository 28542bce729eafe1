//! The REST calls about repositories.

use serde_json::Value;

use super::{Answer, Call};
use crate::refusal::Refusal;
use crate::shapes;
use crate::world::World;
use crate::world::model::{Kind, Level, Need, Scope};

/// `/repos/{owner}/{repo}`
pub(crate) fn one(world: &mut World, call: &Call<'_>, name: &str) -> Result<Answer, Refusal> {
    let scope = Scope::Repository(name.to_owned());
    world.permit(call.caller, &scope, Need::Metadata)?;
    let known = world.repository(name).ok_or(Refusal::NotFound)?.clone();
    match call.method {
        "GET" => Ok(Answer::ok(shapes::one_repository(&known, call.api))),
        "DELETE" => {
            world.permit(call.caller, &scope, Need::Runners(Level::Write))?;
            let kind = &world.account(call.caller)?.kind;
            if let Kind::Classic(scopes) = kind
                && !scopes.iter().any(|scope| scope == "delete_repo")
            {
                return Err(Refusal::Forbidden { accepted: String::new(), kind: kind.clone() });
            }
            world.delete_repository(&known, call.now);
            Ok(Answer::empty(204))
        }
        _ => Err(Refusal::NotFound),
    }
}

/// `/orgs/{org}/repos`
pub(crate) fn of_organization(world: &mut World, call: &Call<'_>, login: &str) -> Result<Answer, Refusal> {
    world.permit(call.caller, &Scope::Organization(login.to_owned()), Need::Metadata)?;
    match call.method {
        "GET" => list(world, call, login),
        "POST" => create(world, call, login),
        _ => Err(Refusal::NotFound),
    }
}

fn list(world: &World, call: &Call<'_>, login: &str) -> Result<Answer, Refusal> {
    let account = world.account(call.caller)?;
    let own = |name: &&String| name.split('/').next().is_some_and(|owner| owner.eq_ignore_ascii_case(login));
    let seen = world.repositories.iter().filter(own).filter(|name| world.sees(account, name));
    Ok(call.bare_page(seen.map(|name| shapes::minimal_repository(name, call.api)).collect()))
}

fn create(world: &mut World, call: &Call<'_>, login: &str) -> Result<Answer, Refusal> {
    let account = world.account(call.caller)?;
    if account.token.administration < Level::Write {
        return Err(Refusal::Forbidden { accepted: "administration=write".into(), kind: account.kind.clone() });
    }
    let body = call.json()?;
    let name = match &body["name"] {
        Value::Null => return Err(Refusal::Unsupplied(vec!["name"])),
        Value::String(name) => sanitized_name(name),
        _ => return Err(Refusal::Invalid("Invalid request.\n\nFor 'name', the type is wrong.".into())),
    };
    let failed = |what| Refusal::Field { message: "Repository creation failed.", field: "name", what };
    if name.is_empty() || name.len() > 100 || name.bytes().all(|byte| byte == b'.') {
        return Err(failed("name is too short, too long or reserved"));
    }
    let full_name = format!("{login}/{name}");
    if world.repository(&full_name).is_some() {
        return Err(failed("name already exists on this account"));
    }
    world.add_repository(&full_name);
    Ok(Answer::created(shapes::one_repository(&full_name, call.api)))
}

/// Replaces characters that a repository's name cannot have by hyphens, as GitHub does.
fn sanitized_name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.trim().chars().map(|c| if allowed(c) { c } else { '-' }).collect()
}
