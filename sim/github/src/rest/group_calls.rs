//! The REST calls of runner groups.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Answer, Call};
use crate::refusal::Refusal;
use crate::shapes;
use crate::world::World;
use crate::world::model::{DEFAULT_GROUP, Group, Level, Need, Scope};

/// `/orgs/{org}/actions/runner-groups…`, and the same for enterprises.
pub(crate) fn answer(world: &mut World, call: &Call<'_>, scope: &Scope, rest: &[&str]) -> Result<Answer, Refusal> {
    let level = if call.method == "GET" { Level::Read } else { Level::Write };
    world.permit(call.caller, scope, Need::Runners(level))?;
    match (call.method, rest) {
        ("GET", []) => {
            let list = world.groups_of(&scope.path()).iter().map(|group| describe(scope, group, call.api)).collect();
            Ok(call.page("runner_groups", list))
        }
        ("POST", []) => create(world, call, scope),
        (_, [id, rest @ ..]) => {
            let id = id.parse().map_err(|_| Refusal::NotFound)?;
            one(world, call, scope, id, rest)
        }
        _ => Err(Refusal::NotFound),
    }
}

fn one(world: &mut World, call: &Call<'_>, scope: &Scope, id: u64, rest: &[&str]) -> Result<Answer, Refusal> {
    let group = world.group(scope, id)?;
    let owner = scope.path();
    let of_enterprise = matches!(scope, Scope::Enterprise(_));
    match (call.method, rest) {
        ("GET", []) => Ok(Answer::ok(describe(scope, &group, call.api))),
        ("PATCH", []) => change(world, call, scope, id),
        ("DELETE", []) => world.remove_group(scope, id).map(|()| Answer::empty(204)),
        ("GET", ["runners"]) => {
            let runners = world.runners_of_group(scope, id);
            let list = runners.map(|runner| shapes::runner(world, runner, call.now)).collect();
            Ok(call.page("runners", list))
        }
        ("PUT", ["runners"]) => {
            let wanted = numbers(&call.json()?["runners"], "runners")?;
            for runner in world.runners.values_mut().filter(|runner| runner.scope.is(scope)) {
                if wanted.contains(&runner.id) {
                    runner.group = id;
                } else if runner.group == id {
                    runner.group = DEFAULT_GROUP;
                }
            }
            Ok(Answer::empty(204))
        }
        ("PUT" | "DELETE", ["runners", number]) => {
            let number = number.parse().map_err(|_| Refusal::NotFound)?;
            world.runner_in(scope, number).ok_or(Refusal::NotFound)?;
            let target = if call.method == "PUT" { id } else { DEFAULT_GROUP };
            if let Some(runner) = world.runners.get_mut(&number) {
                runner.group = target;
            }
            Ok(Answer::empty(204))
        }
        (_, ["organizations", rest @ ..]) if of_enterprise => organizations(world, call, scope, id, rest),
        (_, ["repositories", ..]) if of_enterprise => Err(Refusal::NotFound),
        ("GET", ["repositories"]) => {
            let list = group.repositories.iter().map(|name| shapes::minimal_repository(name, call.api)).collect();
            Ok(call.page("repositories", list))
        }
        ("PUT", ["repositories"]) => {
            let wanted = numbers(&call.json()?["selected_repository_ids"], "selected_repository_ids")?;
            world.group_mut(&owner, id)?.repositories = named(world, &wanted)?;
            Ok(Answer::empty(204))
        }
        ("PUT" | "DELETE", ["repositories", number]) => {
            let number = number.parse().map_err(|_| Refusal::NotFound)?;
            let names = named(world, &[number])?;
            let chosen = &mut world.group_mut(&owner, id)?.repositories;
            match call.method {
                "PUT" => chosen.extend(names),
                _ => chosen.retain(|name| !names.contains(name)),
            }
            Ok(Answer::empty(204))
        }
        _ => Err(Refusal::NotFound),
    }
}

/// Answers the calls for the organizations that may use an enterprise's group.
fn organizations(world: &mut World, call: &Call<'_>, scope: &Scope, id: u64, rest: &[&str]) -> Result<Answer, Refusal> {
    match (call.method, rest) {
        ("GET", []) => {
            let chosen = world.group(scope, id)?.organizations;
            Ok(call.page("organizations", chosen.iter().map(|login| shapes::organization(login, call.api)).collect()))
        }
        ("PUT", []) => {
            let wanted = numbers(&call.json()?["selected_organization_ids"], "selected_organization_ids")?;
            let logins = logins(world, scope, &wanted)?;
            world.group_mut(&scope.path(), id)?.organizations = logins;
            Ok(Answer::empty(204))
        }
        ("PUT" | "DELETE", [number]) => {
            let number = number.parse().map_err(|_| Refusal::NotFound)?;
            let logins = logins(world, scope, &[number])?;
            let chosen = &mut world.group_mut(&scope.path(), id)?.organizations;
            match call.method {
                "PUT" => chosen.extend(logins),
                _ => chosen.retain(|login| !logins.contains(login)),
            }
            Ok(Answer::empty(204))
        }
        _ => Err(Refusal::NotFound),
    }
}

fn create(world: &mut World, call: &Call<'_>, scope: &Scope) -> Result<Answer, Refusal> {
    let body = call.json()?;
    if body["name"].is_null() {
        return Err(Refusal::Unsupplied(vec!["name"]));
    }
    unique(world, scope, &body["name"], 0)?;
    let chosen = |field: &'static str| match &body[field] {
        Value::Null => Ok(None),
        list => numbers(list, field).map(Some),
    };
    // Everything is checked before anything changes.
    let repositories = match (chosen("selected_repository_ids")?, scope) {
        (Some(wanted), Scope::Organization(_)) => named(world, &wanted)?,
        _ => BTreeSet::new(),
    };
    let organizations = match (chosen("selected_organization_ids")?, scope) {
        (Some(wanted), Scope::Enterprise(_)) => logins(world, scope, &wanted)?,
        _ => BTreeSet::new(),
    };
    let mut group = Group { repositories, organizations, ..Group::default_of(&scope.path()) };
    fill(&mut group, &body)?;
    let id = world.insert_group(group);
    Ok(Answer::created(describe(scope, &world.group(scope, id)?, call.api)))
}

fn change(world: &mut World, call: &Call<'_>, scope: &Scope, id: u64) -> Result<Answer, Refusal> {
    let body = call.json()?;
    unique(world, scope, &body["name"], id)?;
    let group = world.group_mut(&scope.path(), id)?;
    fill(group, &body)?;
    Ok(Answer::ok(describe(scope, group, call.api)))
}

fn unique(world: &World, scope: &Scope, name: &Value, own: u64) -> Result<(), Refusal> {
    let taken =
        |group: &Group| group.id != own && name.as_str().is_some_and(|name| group.name.eq_ignore_ascii_case(name));
    match world.groups_of(&scope.path()).iter().any(taken) {
        true => Err(Refusal::Conflict("Name already exists on this organization".into())),
        false => Ok(()),
    }
}

fn fill(group: &mut Group, body: &Value) -> Result<(), Refusal> {
    if let Some(name) = body["name"].as_str() {
        group.name = name.to_owned();
    }
    if let Some(visibility) = body["visibility"].as_str() {
        if !matches!(visibility, "all" | "private" | "selected") {
            return Err(Refusal::Invalid(format!("Invalid request.\n\n{visibility} is not a visibility.")));
        }
        group.visibility = visibility.to_owned();
    }
    let set = |place: &mut bool, field: &str| {
        if let Some(value) = body[field].as_bool() {
            *place = value;
        }
    };
    set(&mut group.allows_public_repositories, "allows_public_repositories");
    set(&mut group.restricted_to_workflows, "restricted_to_workflows");
    if let Some(list) = body["selected_workflows"].as_array() {
        group.selected_workflows = list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    Ok(())
}

fn numbers(list: &Value, field: &'static str) -> Result<Vec<u64>, Refusal> {
    let numbers = list.as_array().and_then(|list| list.iter().map(Value::as_u64).collect());
    numbers.ok_or_else(|| Refusal::Unsupplied(vec![field]))
}

fn named(world: &World, ids: &[u64]) -> Result<BTreeSet<String>, Refusal> {
    let find = |id: &u64| world.repositories.iter().find(|name| u64::from(shapes::number_of(name)) == *id).cloned();
    ids.iter().map(find).collect::<Option<_>>().ok_or(Refusal::NotFound)
}

/// Returns the organizations of an enterprise with these numbers.
fn logins(world: &World, scope: &Scope, ids: &[u64]) -> Result<BTreeSet<String>, Refusal> {
    let Scope::Enterprise(slug) = scope else { return Err(Refusal::NotFound) };
    let all = world.organizations_of(slug).ok_or(Refusal::NotFound)?;
    let find = |id: &u64| all.iter().find(|login| u64::from(shapes::number_of(login)) == *id).cloned();
    ids.iter().map(find).collect::<Option<_>>().ok_or(Refusal::NotFound)
}

fn describe(scope: &Scope, group: &Group, api: &str) -> Value {
    let (owner, chosen) = match scope {
        Scope::Enterprise(_) => (group.owner.clone(), "organizations"),
        _ => (format!("orgs/{}", group.owner), "repositories"),
    };
    let url = format!("{api}/{owner}/actions/runner-groups/{}", group.id);
    let mut group_json = json!({
        "id": group.id,
        "name": group.name,
        "visibility": group.visibility,
        "default": group.id == DEFAULT_GROUP,
        "runners_url": format!("{url}/runners"),
        "hosted_runners_url": format!("{url}/hosted-runners"),
        "allows_public_repositories": group.allows_public_repositories,
        "restricted_to_workflows": group.restricted_to_workflows,
        "selected_workflows": group.selected_workflows,
        "workflow_restrictions_read_only": false,
    });
    if !matches!(scope, Scope::Enterprise(_)) {
        // Groups of an enterprise are not inherited.
        group_json["inherited"] = false.into();
    }
    if group.visibility == "selected" {
        group_json[format!("selected_{chosen}_url")] = format!("{url}/{chosen}").into();
    }
    group_json
}
