//! Sessions of people who logged in: a signed cookie, and nothing kept here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, header};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::Role;
use crate::config::secret::Secret;

/// How long a session lasts.
const LASTS: Duration = Duration::from_hours(12);

const COOKIE: &str = "luthien_session";

/// What the key is for, so that it is never that of something else which is derived from the same token.
const CONTEXT: &[u8] = b"luthien admin session v1";

/// Signs cookies and checks them. The key follows from the tokens, so every replica takes the cookies of the others, and a
/// token that is changed ends all sessions.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    key: [u8; 32],
}

impl Sessions {
    pub(super) fn new(token: &Secret, viewer: Option<&Secret>) -> Self {
        let viewer = viewer.map(Secret::digest).unwrap_or_default();
        Self { key: mac(&token.digest(), &[CONTEXT, &viewer]).finalize().into_bytes().into() }
    }

    /// The `set-cookie` of a session that begins now.
    ///
    /// `Lax` and not `Strict`: a link from a dashboard opens the page and not the login. What changes something is asked for
    /// its origin besides.
    pub(super) fn begin(&self, role: Role, now: SystemTime, secure: bool) -> String {
        let expires = seconds(now) + LASTS.as_secs();
        let said = format!("{}.{expires}", role.name());
        let seal = BASE64_URL_SAFE_NO_PAD.encode(self.seal(&said).finalize().into_bytes());
        cookie(&format!("{said}.{seal}"), LASTS, secure)
    }

    /// The `set-cookie` that ends a session in this browser.
    pub(super) fn end(secure: bool) -> String {
        cookie("", Duration::ZERO, secure)
    }

    /// The role of the session that a request belongs to.
    pub(super) fn role(&self, headers: &HeaderMap, now: SystemTime) -> Option<Role> {
        let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
            .find_map(|value| self.verify(value, now))
    }

    fn verify(&self, value: &str, now: SystemTime) -> Option<Role> {
        let (said, seal) = value.rsplit_once('.')?;
        // Takes the same time whatever is different.
        self.seal(said).verify_slice(&BASE64_URL_SAFE_NO_PAD.decode(seal).ok()?).ok()?;
        let (role, expires) = said.split_once('.')?;
        (expires.parse::<u64>().ok()? > seconds(now)).then(|| Role::named(role))?
    }

    fn seal(&self, said: &str) -> Hmac<Sha256> {
        mac(&self.key, &[said.as_bytes()])
    }
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> Hmac<Sha256> {
    // As the type has it, a key of any length is taken; one of this length cannot fail.
    let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new(&block(key));
    for part in parts {
        mac.update(part);
    }
    mac
}

/// HMAC pads a short key with zeros to a block of its hash.
fn block(key: &[u8; 32]) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    block
}

fn cookie(value: &str, lasts: Duration, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", lasts.as_secs())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn sessions(token: &str, viewer: Option<&str>) -> Sessions {
        let secret = |text: &str| Secret::new(text).expect("a secret");
        Sessions::new(&secret(token), viewer.map(secret).as_ref())
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_hours(500_000)
    }

    /// The value of a cookie as it was set.
    fn value(set: &str) -> &str {
        set.split(';').next().expect("a value")
    }

    fn role(sessions: &Sessions, cookie: &str, now: SystemTime) -> Option<Role> {
        let cookie = HeaderValue::from_str(cookie).expect("a header");
        sessions.role(&[(header::COOKIE, cookie)].into_iter().collect(), now)
    }

    #[test]
    fn a_session_lasts_for_its_time_and_keeps_its_role() {
        let sessions = sessions("t", Some("v"));
        for begun in [Role::Admin, Role::Viewer] {
            let set = sessions.begin(begun, now(), true);
            assert!(set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure"), "{set}");
            let cookie = value(&set);
            assert_eq!(role(&sessions, cookie, now()), Some(begun));
            assert_eq!(role(&sessions, &format!("a=b; {cookie}; c=d"), now()), Some(begun));
            assert_eq!(role(&sessions, &format!("luthien_session=; {cookie}"), now()), Some(begun));
            assert_eq!(role(&sessions, cookie, now() + LASTS - Duration::from_secs(1)), Some(begun));
            assert_eq!(role(&sessions, cookie, now() + LASTS), None);
        }
        assert!(!sessions.begin(Role::Admin, now(), false).contains("Secure"));
        assert!(Sessions::end(false).starts_with("luthien_session=; Path=/; Max-Age=0;"));
    }

    #[test]
    fn what_was_changed_or_is_of_other_tokens_is_no_session() {
        let ours = sessions("t", Some("v"));
        let set = ours.begin(Role::Viewer, now(), false);
        let cookie = value(&set);
        let raised = cookie.replace("viewer", "admin");
        let longer = cookie.replace(".18", ".28");
        let (said, seal) = cookie.rsplit_once('.').expect("a seal");
        for wrong in
            [&raised, &longer, said, &format!("{said}."), &format!("{said}.x{seal}"), "luthien_session=admin", ""]
        {
            assert_ne!(wrong, cookie);
            assert_eq!(role(&ours, wrong, now()), None, "{wrong}");
        }
        // Every bit of the seal counts.
        for at in 0..seal.len() {
            let mut other = seal.to_owned().into_bytes();
            other[at] = if other[at] == b'A' { b'Q' } else { b'A' };
            let other = format!("{said}.{}", String::from_utf8(other).expect("text"));
            assert_eq!(role(&ours, &other, now()), None, "{other}");
        }
        for others in [sessions("t2", Some("v")), sessions("t", Some("v2")), sessions("t", None)] {
            assert_eq!(role(&others, cookie, now()), None);
        }
    }
}
