//! The REST calls of runner groups.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::access::{Level, Need};
use super::groups::{DEFAULT, Group};
use super::json;
use super::model::Scope;
use super::refusal::Refusal;
use super::rest::{Answer, Call};
use super::world::World;

/// `/orgs/{org}/actions/runner-groups…`
pub(super) fn answer(world: &mut World, call: &Call<'_>, organization: &str, rest: &[&str]) -> Result<Answer, Refusal> {
    let scope = Scope::Organization(organization.to_owned());
    let level = if call.method == "GET" { Level::Read } else { Level::Write };
    world.permit(call.caller, &scope, Need::Runners(level))?;
    match (call.method, rest) {
        ("GET", []) => {
            let list = world.groups_of(organization).iter().map(|group| describe(group, call.api)).collect();
            Ok(call.page("runner_groups", list))
        }
        ("POST", []) => create(world, call, organization),
        (_, [id, rest @ ..]) => {
            let id = id.parse().map_err(|_| Refusal::NotFound)?;
            one(world, call, &scope, organization, id, rest)
        }
        _ => Err(Refusal::NotFound),
    }
}

fn one(
    world: &mut World,
    call: &Call<'_>,
    scope: &Scope,
    organization: &str,
    id: u64,
    rest: &[&str],
) -> Result<Answer, Refusal> {
    let group = world.group(scope, id)?;
    match (call.method, rest) {
        ("GET", []) => Ok(Answer::ok(describe(&group, call.api))),
        ("PATCH", []) => change(world, call, organization, id),
        ("DELETE", []) => world.remove_group(organization, id).map(|()| Answer::empty(204)),
        ("GET", ["runners"]) => {
            let runners = world.runners_of_group(scope, id);
            let list = runners.map(|runner| json::runner(world, runner, call.now)).collect();
            Ok(call.page("runners", list))
        }
        ("PUT", ["runners"]) => {
            let wanted = numbers(&call.json()?["runners"], "runners")?;
            for runner in world.runners.values_mut().filter(|runner| runner.scope == *scope) {
                if wanted.contains(&runner.id) {
                    runner.group = id;
                } else if runner.group == id {
                    runner.group = DEFAULT;
                }
            }
            Ok(Answer::empty(204))
        }
        ("PUT" | "DELETE", ["runners", number]) => {
            let number = number.parse().map_err(|_| Refusal::NotFound)?;
            world.runner_in(scope, number).ok_or(Refusal::NotFound)?;
            let target = if call.method == "PUT" { id } else { DEFAULT };
            if let Some(runner) = world.runners.get_mut(&number) {
                runner.group = target;
            }
            Ok(Answer::empty(204))
        }
        ("GET", ["repositories"]) => {
            let list = group.repositories.iter().map(|name| json::minimal_repository(name, call.api)).collect();
            Ok(call.page("repositories", list))
        }
        ("PUT", ["repositories"]) => {
            let wanted = numbers(&call.json()?["selected_repository_ids"], "selected_repository_ids")?;
            world.group_mut(organization, id)?.repositories = named(world, &wanted)?;
            Ok(Answer::empty(204))
        }
        ("PUT" | "DELETE", ["repositories", number]) => {
            let number = number.parse().map_err(|_| Refusal::NotFound)?;
            let names = named(world, &[number])?;
            let chosen = &mut world.group_mut(organization, id)?.repositories;
            match call.method {
                "PUT" => chosen.extend(names),
                _ => chosen.retain(|name| !names.contains(name)),
            }
            Ok(Answer::empty(204))
        }
        _ => Err(Refusal::NotFound),
    }
}

fn create(world: &mut World, call: &Call<'_>, organization: &str) -> Result<Answer, Refusal> {
    let body = call.json()?;
    if body["name"].is_null() {
        return Err(Refusal::Unsupplied(vec!["name"]));
    }
    unique(world, organization, &body["name"], 0)?;
    let id = world.add_runner_group(organization, "", &[]);
    fill(world.group_mut(organization, id)?, &body)?;
    if !body["selected_repository_ids"].is_null() {
        let wanted = numbers(&body["selected_repository_ids"], "selected_repository_ids")?;
        world.group_mut(organization, id)?.repositories = named(world, &wanted)?;
    }
    let group = world.group(&Scope::Organization(organization.to_owned()), id)?;
    Ok(Answer::created(describe(&group, call.api)))
}

fn change(world: &mut World, call: &Call<'_>, organization: &str, id: u64) -> Result<Answer, Refusal> {
    let body = call.json()?;
    unique(world, organization, &body["name"], id)?;
    let group = world.group_mut(organization, id)?;
    fill(group, &body)?;
    Ok(Answer::ok(describe(group, call.api)))
}

fn unique(world: &World, organization: &str, name: &Value, own: u64) -> Result<(), Refusal> {
    let taken =
        |group: &Group| group.id != own && name.as_str().is_some_and(|name| group.name.eq_ignore_ascii_case(name));
    match world.groups_of(organization).iter().any(taken) {
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
    let find = |id: &u64| world.repositories.iter().find(|name| u64::from(json::number_of(name)) == *id).cloned();
    ids.iter().map(find).collect::<Option<_>>().ok_or(Refusal::NotFound)
}

fn describe(group: &Group, api: &str) -> Value {
    let url = format!("{api}/orgs/{}/actions/runner-groups/{}", group.organization, group.id);
    let mut group_json = json!({
        "id": group.id,
        "name": group.name,
        "visibility": group.visibility,
        "default": group.id == DEFAULT,
        "runners_url": format!("{url}/runners"),
        "hosted_runners_url": format!("{url}/hosted-runners"),
        "inherited": false,
        "allows_public_repositories": group.allows_public_repositories,
        "restricted_to_workflows": group.restricted_to_workflows,
        "selected_workflows": group.selected_workflows,
        "workflow_restrictions_read_only": false,
    });
    if group.visibility == "selected" {
        group_json["selected_repositories_url"] = format!("{url}/repositories").into();
    }
    group_json
}
