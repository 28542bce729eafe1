//! Tickets, CSRF prevention tokens and API tokens: the authentication of a caller.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;

use crate::engine::Engine;
use crate::refusal::{Outcome, Refusal};

fn sign(engine: &Engine, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &engine.ticket_key);
    BASE64_STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

pub(crate) fn ticket(engine: &Engine, user: &str) -> String {
    let plain = format!("PVE:{user}:{:08X}", engine.clock.seconds());
    let signature = sign(engine, &plain);
    format!("{plain}::{signature}")
}

/// Returns the user of a valid ticket. A ticket is valid for two hours, as PVE's.
pub(crate) fn ticket_user(engine: &Engine, ticket: &str) -> Option<String> {
    let (plain, signature) = ticket.split_once("::")?;
    let mut parts = plain.rsplitn(2, ':');
    let time = u64::from_str_radix(parts.next()?, 16).ok()?;
    let user = parts.next()?.strip_prefix("PVE:")?;
    let fresh = time + 7200 > engine.clock.seconds();
    (fresh && sign(engine, plain) == signature && engine.state().users.contains_key(user)).then(|| user.to_owned())
}

pub(crate) fn csrf(engine: &Engine, user: &str) -> String {
    let time = format!("{:08X}", engine.clock.seconds());
    format!("{time}:{}", sign(engine, &format!("csrf:{time}:{user}")))
}

pub(crate) fn csrf_fits(engine: &Engine, user: &str, token: &str) -> bool {
    token.split_once(':').is_some_and(|(time, signature)| sign(engine, &format!("csrf:{time}:{user}")) == signature)
}

/// Returns a console ticket that is bound to its caller, guest and port.
pub(crate) fn console_ticket(engine: &Engine, caller: &str, path: &str, port: u16) -> String {
    let time = format!("{:08X}", engine.clock.seconds());
    format!("PVEVNC:{time}::{}", sign(engine, &format!("vnc:{time}:{caller}:{path}:{port}")))
}

pub(crate) fn console_ticket_fits(engine: &Engine, ticket: &str, caller: &str, path: &str, port: u16) -> bool {
    let Some((time, signature)) = ticket.strip_prefix("PVEVNC:").and_then(|t| t.split_once("::")) else { return false };
    sign(engine, &format!("vnc:{time}:{caller}:{path}:{port}")) == signature
}

/// Credentials that a request carries.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) authorization: Option<String>,
    pub(crate) cookie: Option<String>,
    pub(crate) csrf: Option<String>,
}

/// Authenticates the caller. Returns `user@realm` or `user@realm!token`.
pub(crate) fn caller(engine: &Engine, credentials: &Credentials, reads_only: bool) -> Outcome<String> {
    let cookie = credentials.cookie.as_deref().and_then(cookie_ticket);
    if let Some(ticket) = cookie {
        return by_ticket(engine, &ticket, credentials.csrf.as_deref(), reads_only);
    }
    let header = credentials.authorization.as_deref().unwrap_or_default();
    if let Some(ticket) = header.strip_prefix("PVEAuthCookie=") {
        return by_ticket(engine, &decode(ticket), credentials.csrf.as_deref(), reads_only);
    }
    let Some(rest) = header.strip_prefix("PVEAPIToken") else { return Err(Refusal::unauthenticated("No ticket")) };
    let Some(value) = rest.strip_prefix(['=', ' ']).filter(|value| !value.is_empty()) else {
        return Err(Refusal::unauthenticated("No ticket"));
    };
    by_token(engine, value).ok_or_else(|| Refusal::unauthenticated("Authentication failed!"))
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn cookie_ticket(header: &str) -> Option<String> {
    header.split(';').find_map(|part| part.trim().strip_prefix("PVEAuthCookie=")).map(decode)
}

fn by_ticket(engine: &Engine, ticket: &str, csrf: Option<&str>, reads_only: bool) -> Outcome<String> {
    let Some(user) = ticket_user(engine, ticket) else {
        return Err(Refusal::unauthenticated("Authentication failed!"));
    };
    if !reads_only && !csrf.is_some_and(|token| csrf_fits(engine, &user, token)) {
        return Err(Refusal::unauthenticated("Permission denied - invalid csrf token"));
    }
    Ok(user)
}

fn by_token(engine: &Engine, value: &str) -> Option<String> {
    let (id, secret) = value.split_once('=')?;
    let (user, name) = id.split_once('!')?;
    let state = engine.state();
    let owner = state.users.get(user).filter(|user| user.enabled)?;
    let token = owner.tokens.get(name)?;
    let now = engine.clock.seconds();
    let alive = |expire: u64| expire == 0 || expire > now;
    (token.secret == secret && alive(token.expire) && alive(owner.expire)).then(|| id.to_owned())
}
