//! A policy behind HTTP: one POST for each hook that asks.
//!
//! Signed as [Standard Webhooks](https://www.standardwebhooks.com) says: HMAC-SHA256 over id, timestamp and body. The receiver
//! refuses what is older than five minutes, and an id that it has seen in that time.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use crate::policies::{http::Client, site::ReadSecret};

use super::{
    Unanswered,
    v1::{Decision, Hook},
};

/// A policy behind HTTP.
pub struct Webhook {
    /// Who is asked.
    pub client: Arc<Client>,
    /// What hooks are signed with.
    pub secret: ReadSecret,
}

impl Webhook {
    /// Asks, and waits for the answer for as long as `limit`.
    pub(super) async fn ask(&self, hook: Hook, limit: Duration) -> Result<Decision, Unanswered> {
        let name = || self.client.name().to_owned();
        let unusable = |why: &str| Unanswered::Unusable { name: name(), why: why.to_owned() };
        let call = hook.call.as_ref().map(|call| call.id.clone()).unwrap_or_default();
        // The same when it is sent again, so that the receiver knows it.
        let id = format!("{call}.{}", hook.sequence);
        let sequence = hook.sequence;
        let body = Bytes::from(serde_json::to_vec(&hook).map_err(|_| unusable("the hook cannot be written"))?);
        let secret = (self.secret)().map_err(|why| Unanswered::NoKey { name: name(), why })?;
        let key = key(&secret).ok_or_else(|| Unanswered::NoKey { name: name(), why: "it is empty".to_owned() })?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = sign(&key, &id, now, &body).ok_or_else(|| unusable("the hook cannot be signed"))?;
        let mut headers = HeaderMap::new();
        let header = |value: &str| HeaderValue::from_str(value).map_err(|_| unusable("the hook cannot be signed"));
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HeaderName::from_static("webhook-id"), header(&id)?);
        headers.insert(HeaderName::from_static("webhook-timestamp"), header(&now.to_string())?);
        headers.insert(HeaderName::from_static("webhook-signature"), header(&signature)?);
        let answer = self.client.post("", headers, body, limit).await?;
        let decision: Decision =
            serde_json::from_slice(&answer).map_err(|_| unusable("its answer is no decision of the contract"))?;
        if decision.sequence != 0 && decision.sequence != sequence {
            return Err(unusable("its answer is to another hook"));
        }
        Ok(decision)
    }
}

/// The key in a secret, which stands there as base64 behind `whsec_`, or as it is.
fn key(secret: &str) -> Option<Vec<u8>> {
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => BASE64_STANDARD.decode(encoded).ok()?,
        None => secret.as_bytes().to_vec(),
    };
    (!key.is_empty()).then_some(key)
}

/// The signature of a message, as its header says it.
fn sign(key: &[u8], id: &str, timestamp: u64, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Some(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
