//! The list of models that a provider serves, told to a client of another vendor.
//!
//! Both vendors answer `GET /v1/models`, with other members: OpenAI's models have `created` in seconds since 1970, Anthropic's
//! have `created_at` as a date and a name for people, and their list says whether there is more.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::{
    json::{Kind, Value},
    model::Dialect,
};

use super::Undecodable;

/// A model as both vendors know it.
struct Model {
    id: String,
    /// Seconds since 1970.
    created: u64,
}

/// A list of models, or one model, in the form that the vendor of `to` uses.
///
/// `aliases` are the client's names of models, each with the provider's: they are listed beside it.
pub fn convert_models<'a>(
    to: Dialect,
    body: &[u8],
    aliases: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<u8>, Undecodable> {
    let value = Value::parse(body).map_err(|error| Undecodable(format!("the list of models is {error}")))?;
    let Some(list) = value.get("data").filter(|list| list.kind() == Kind::Array) else {
        let model = read(value).ok_or_else(|| Undecodable("the answer is no list of models".to_owned()))?;
        return Ok(write(to, &model).to_string().into_bytes());
    };
    let mut models: Vec<Model> = list.items().filter_map(read).collect();
    let named: Vec<Model> = aliases
        .map(|(alias, of)| {
            let created = models.iter().find(|model| model.id == of).map_or(0, |model| model.created);
            Model { id: alias.to_owned(), created }
        })
        .collect();
    models.extend(named);
    let data: Vec<serde_json::Value> = models.iter().map(|model| write(to, model)).collect();
    let list = match to {
        Dialect::AnthropicMessages => json!({
            "data": data,
            "has_more": false,
            "first_id": models.first().map(|model| &model.id),
            "last_id": models.last().map(|model| &model.id),
        }),
        Dialect::OpenaiChat | Dialect::OpenaiResponses => json!({"object": "list", "data": data}),
    };
    Ok(list.to_string().into_bytes())
}

fn read(model: Value<'_>) -> Option<Model> {
    let date = || {
        let time = humantime::parse_rfc3339(&model.str_at("created_at")?).ok()?;
        Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
    };
    let created = model.get("created").and_then(Value::as_u64).or_else(date).unwrap_or(0);
    Some(Model { id: model.str_at("id")?.into_owned(), created })
}

fn write(to: Dialect, model: &Model) -> serde_json::Value {
    let Model { id, created } = model;
    match to {
        Dialect::AnthropicMessages => {
            // A year far away cannot be written as a date; nobody made a model then.
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs((*created).min(LAST_DATE));
            let date = humantime::format_rfc3339_seconds(time).to_string();
            json!({"type": "model", "id": id, "display_name": id, "created_at": date})
        }
        Dialect::OpenaiChat | Dialect::OpenaiResponses => {
            json!({"id": id, "object": "model", "created": created, "owned_by": "upstream"})
        }
    }
}

/// The end of the year 9999, in seconds since 1970.
const LAST_DATE: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(to: Dialect, body: &str, aliases: &[(&str, &str)]) -> serde_json::Value {
        let out = convert_models(to, body.as_bytes(), aliases.iter().copied()).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn lists_go_both_ways_with_their_aliases() {
        let openai =
            r#"{"object":"list","data":[{"id":"gpt-5","object":"model","created":1754000000,"owned_by":"o"}]}"#;
        let anthropic = converted(Dialect::AnthropicMessages, openai, &[("claude-x", "gpt-5")]);
        assert_eq!(
            anthropic,
            json!({
                "data": [
                    {"type": "model", "id": "gpt-5", "display_name": "gpt-5", "created_at": "2025-07-31T22:13:20Z"},
                    {"type": "model", "id": "claude-x", "display_name": "claude-x", "created_at": "2025-07-31T22:13:20Z"},
                ],
                "has_more": false, "first_id": "gpt-5", "last_id": "claude-x",
            })
        );
        let back = converted(Dialect::OpenaiChat, &anthropic.to_string(), &[]);
        assert_eq!(
            back["data"][0],
            json!({"id": "gpt-5", "object": "model", "created": 1_754_000_000, "owned_by": "upstream"})
        );
    }

    #[test]
    fn one_model_and_no_models() {
        let one = r#"{"type":"model","id":"claude-x","created_at":"2025-07-31T22:13:20Z"}"#;
        assert_eq!(converted(Dialect::OpenaiResponses, one, &[])["id"], "claude-x");
        assert_eq!(converted(Dialect::AnthropicMessages, r#"{"data":[]}"#, &[])["first_id"], json!(null));
        assert!(convert_models(Dialect::OpenaiChat, b"<html>", std::iter::empty()).is_err());
        assert!(convert_models(Dialect::OpenaiChat, b"{}", std::iter::empty()).is_err());
        let far = r#"{"data":[{"id":"m","created":18446744073709551615}]}"#;
        assert_eq!(converted(Dialect::AnthropicMessages, far, &[])["data"][0]["created_at"], "9999-12-31T23:59:59Z");
    }
}
