//! Calls about users, groups, roles, tokens and permissions.

use serde_json::{Value, json};

use super::{Entry, entries};
use crate::{access, cluster};

const PARTS: [&str; 9] = ["users", "groups", "roles", "acl", "domains", "openid", "tfa", "ticket", "password"];

pub(super) const ENTRIES: &[Entry] = entries![|engine, call, _upload|
    GET "/access" => cluster::api::subdirs(&PARTS);
    GET "/access/ticket" => Value::Null;
    POST "/access/ticket" => access::session::login(engine, &call)?;
    PUT "/access/password" => access::session::password(engine, &call)?;
    GET "/access/permissions" => access::session::permissions(engine, &call)?;
    GET "/access/users" => access::users::users(engine, &call);
    POST "/access/users" => access::users::user_create(engine, &call)?;
    GET "/access/users/{userid}" => access::users::user(engine, &call)?;
    PUT "/access/users/{userid}" => access::users::user_update(engine, &call)?;
    DELETE "/access/users/{userid}" => access::users::user_delete(engine, &call)?;
    GET "/access/users/{userid}/token" => access::tokens::tokens(engine, &call)?;
    GET "/access/users/{userid}/token/{tokenid}" => access::tokens::token(engine, &call)?;
    POST "/access/users/{userid}/token/{tokenid}" => access::tokens::token_create(engine, &call)?;
    PUT "/access/users/{userid}/token/{tokenid}" => access::tokens::token_update(engine, &call)?;
    DELETE "/access/users/{userid}/token/{tokenid}" => access::tokens::token_delete(engine, &call)?;
    GET "/access/roles" => access::roles::roles(engine);
    POST "/access/roles" => access::roles::role_change(engine, &call, "create")?;
    GET "/access/roles/{roleid}" => access::roles::role(engine, &call)?;
    PUT "/access/roles/{roleid}" => access::roles::role_change(engine, &call, "update")?;
    DELETE "/access/roles/{roleid}" => access::roles::role_change(engine, &call, "delete")?;
    GET "/access/acl" => access::acl::acl(engine, &call);
    PUT "/access/acl" => access::acl::acl_update(engine, &call)?;
    GET "/access/groups" => access::groups::groups(engine, &call);
    POST "/access/groups" => access::groups::group_change(engine, &call, "create")?;
    GET "/access/groups/{groupid}" => access::groups::group_change(engine, &call, "get")?;
    PUT "/access/groups/{groupid}" => access::groups::group_change(engine, &call, "update")?;
    DELETE "/access/groups/{groupid}" => access::groups::group_change(engine, &call, "delete")?;
    GET "/access/domains" => access::session::domains();
    GET "/access/tfa" => json!([]);
];
