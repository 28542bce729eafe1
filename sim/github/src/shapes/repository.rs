//! Repositories and users in GitHub's format.

use serde_json::{Map, Value};

/// Fields of a repository that consist of its API URL and a suffix.
const REPOSITORY_URLS: [(&str, &str); 38] = [
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
    ("url", ""),
    ("html_url", ""),
];

/// Fields of a user that consist of its API URL and a suffix.
const USER_URLS: [(&str, &str); 13] = [
    ("avatar_url", "/avatar"),
    ("events_url", "/events{/privacy}"),
    ("followers_url", "/followers"),
    ("following_url", "/following{/other_user}"),
    ("gists_url", "/gists{/gist_id}"),
    ("html_url", ""),
    ("organizations_url", "/orgs"),
    ("received_events_url", "/received_events"),
    ("repos_url", "/repos"),
    ("starred_url", "/starred{/owner}{/repo}"),
    ("subscriptions_url", "/subscriptions"),
    ("url", ""),
    ("gravatar_id", ""),
];

pub(crate) fn repository_of(full_name: &str, fork: bool, api: &str) -> Value {
    let (owner, name) = full_name.split_once('/').unwrap_or((full_name, full_name));
    let mut fields = urls(&REPOSITORY_URLS, &format!("{api}/repos/{full_name}"));
    fields.insert("id".into(), number_of(full_name).into());
    fields.insert("node_id".into(), format!("R_{}", number_of(full_name)).into());
    fields.insert("name".into(), name.into());
    fields.insert("full_name".into(), full_name.into());
    fields.insert("owner".into(), user(owner, api));
    fields.insert("private".into(), true.into());
    fields.insert("fork".into(), fork.into());
    fields.insert("description".into(), Value::Null);
    Value::Object(fields)
}

/// Returns a repository as an organization's list shows it.
pub(crate) fn minimal_repository(full_name: &str, api: &str) -> Value {
    repository_of(full_name, false, api)
}

/// Returns a repository with the fields that only a single read shows.
pub(crate) fn full_repository(full_name: &str, api: &str) -> Value {
    let mut repository = repository_of(full_name, false, api);
    for field in ["clone_url", "git_url", "ssh_url", "svn_url"] {
        repository[field] = format!("{api}/{full_name}.git").into();
    }
    for field in ["homepage", "language", "license", "mirror_url"] {
        repository[field] = Value::Null;
    }
    for field in ["has_issues", "has_projects", "has_wiki", "has_downloads"] {
        repository[field] = true.into();
    }
    for field in ["has_pages", "archived", "disabled"] {
        repository[field] = false.into();
    }
    for field in [
        "forks",
        "forks_count",
        "open_issues",
        "open_issues_count",
        "size",
        "stargazers_count",
        "watchers",
        "watchers_count",
    ] {
        repository[field] = 0.into();
    }
    for field in ["pushed_at", "created_at", "updated_at"] {
        repository[field] = "2020-01-01T00:00:00Z".into();
    }
    repository["default_branch"] = "main".into();
    repository["visibility"] = "private".into();
    repository
}

/// Returns a repository as `GET /repos/{owner}/{repo}` shows it.
pub(crate) fn one_repository(full_name: &str, api: &str) -> Value {
    let mut repository = full_repository(full_name, api);
    repository["has_discussions"] = false.into();
    repository["network_count"] = 0.into();
    repository["subscribers_count"] = 0.into();
    repository
}

/// Returns a repository as webhooks contain it.
pub(crate) fn webhook_repository(full_name: &str, api: &str) -> Value {
    full_repository(full_name, api)
}

pub(crate) fn user(login: &str, api: &str) -> Value {
    let mut fields = urls(&USER_URLS, &format!("{api}/users/{login}"));
    fields.insert("id".into(), number_of(login).into());
    fields.insert("node_id".into(), format!("U_{}", number_of(login)).into());
    fields.insert("login".into(), login.into());
    fields.insert("type".into(), "User".into());
    fields.insert("site_admin".into(), false.into());
    Value::Object(fields)
}

/// Returns an organization as lists show it.
pub(crate) fn organization(login: &str, api: &str) -> Value {
    let url = format!("{api}/orgs/{login}");
    let ends = [
        ("url", ""),
        ("repos_url", "/repos"),
        ("events_url", "/events"),
        ("hooks_url", "/hooks"),
        ("issues_url", "/issues"),
        ("members_url", "/members{/member}"),
        ("public_members_url", "/public_members{/member}"),
        ("avatar_url", "/avatar"),
    ];
    let mut fields = urls(&ends, &url);
    fields.insert("id".into(), number_of(login).into());
    fields.insert("node_id".into(), format!("O_{}", number_of(login)).into());
    fields.insert("login".into(), login.into());
    fields.insert("description".into(), Value::Null);
    Value::Object(fields)
}

fn urls(list: &[(&str, &str)], base: &str) -> Map<String, Value> {
    list.iter().map(|(field, rest)| ((*field).to_owned(), format!("{base}{rest}").into())).collect()
}

/// Returns a stable number for a name (FNV-1a, reduced to the range of JavaScript's integers).
pub(crate) fn number_of(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
