//! What both writers of OpenAI's dialects have in common.

use crate::{
    dialect::convert::{
        Writing,
        losses::{Losses, Step},
        models::OpenAi,
        names::hash,
    },
    json::{
        Kind, Text, Value,
        build::{Object, array, string},
    },
    model::conversation::{
        Conversation, Effort, Field, Format, Grammar, Hint, Json, Mode, Part, PartKind, Tool, ToolChoice, Ttl,
    },
};

use super::join;

/// The cache mark of a part of another OpenAI dialect; one of Messages is left out, because few models take it.
fn write_cache(object: Object, cache: Option<&Field<Ttl>>, losses: &mut Losses) -> Step<Object> {
    let Some(cache) = cache else { return Ok(object) };
    if !cache.name.ends_with("prompt_cache_breakpoint") {
        losses.hint(cache.name)?;
        return Ok(object);
    }
    let mark = Object::new().str("mode", "explicit");
    let mark = match cache.value {
        Ttl::Default => mark,
        Ttl::Short => mark.str("ttl", "30m"),
        Ttl::Long => mark.str("ttl", "12h"),
    };
    Ok(object.raw("prompt_cache_breakpoint", mark.build()))
}

/// Parts as content: a lone text as a string. `write` writes a part that stands in content, or tells that it is lost.
pub(in crate::dialect) fn write_content<'c>(
    parts: impl IntoIterator<Item = &'c Part>,
    losses: &mut Losses,
    write: impl Fn(&Part, &mut Losses) -> Step<Option<Object>>,
) -> Step<Option<String>> {
    let parts: Vec<&Part> = parts.into_iter().collect();
    if let [Part { kind: PartKind::Text(text) | PartKind::Refusal(text), cache: None }] = parts.as_slice() {
        return Ok(Some(string(text)));
    }
    let mut out = Vec::new();
    for part in parts {
        let Some(object) = write(part, losses)? else { continue };
        out.push(write_cache(object, part.cache.as_ref(), losses)?.build());
    }
    Ok((!out.is_empty()).then(|| array(out)))
}

/// The fields of a JSON schema format. Messages has no name for it, and its promise is not that of `strict`.
pub(in crate::dialect) fn write_schema_format(mut object: Object, format: &Format) -> Object {
    if let Format::JsonSchema { name, description, schema, strict } = format {
        object = object.text("name", name.as_ref().unwrap_or(&Text::new("output")));
        if let Some(description) = description {
            object = object.text("description", description);
        }
        object = object.raw("schema", schema.as_deref().unwrap_or("{}"));
        object = object.bool("strict", strict.unwrap_or(false));
    }
    object
}

/// The fields of a function or a custom tool.
pub(in crate::dialect) fn write_tool(tool: &Tool, object: Object, writing: &mut Writing<'_>) -> Step<Object> {
    let mut object = object.str("name", &writing.names.sent(&tool.name));
    if let Some(description) = &tool.description {
        object = object.text("description", description);
    }
    if let Some(cache) = &tool.cache {
        writing.losses.hint(cache.name)?;
    }
    Ok(object)
}

/// A grammar's fields.
pub(in crate::dialect) fn write_grammar(grammar: &Grammar) -> Object {
    Object::new().text("definition", &grammar.definition).text("syntax", &grammar.syntax)
}

/// The temperature and the nucleus, which reasoning models refuse.
pub(in crate::dialect) fn write_sampling(
    mut object: Object,
    conversation: &Conversation,
    writing: &mut Writing<'_>,
) -> Step<Object> {
    let drops = OpenAi::of(writing.target.model).reasons();
    for (key, field) in [("temperature", &conversation.temperature), ("top_p", &conversation.top_p)] {
        match field {
            Some(field) if drops => writing.losses.hint(field.name)?,
            Some(field) => object = object.raw(key, &field.value),
            None => {}
        }
    }
    Ok(object)
}

/// The most tokens, at most what the model can write.
pub(in crate::dialect) fn most_tokens(conversation: &Conversation, writing: &mut Writing<'_>) -> Step<Option<u64>> {
    let Some(asked) = &conversation.max_tokens else { return Ok(None) };
    let model = writing.target.model;
    match OpenAi::of(model).most_tokens(model).filter(|most| *most < asked.value) {
        Some(most) => {
            writing.losses.hint(asked.name)?;
            Ok(Some(most))
        }
        None => Ok(Some(asked.value)),
    }
}

/// The effort to ask for.
pub(in crate::dialect) fn write_effort(conversation: &Conversation, writing: &mut Writing<'_>) -> Step<Option<Effort>> {
    let reasoning = &conversation.reasoning;
    let model = OpenAi::of(writing.target.model);
    let said = match (&reasoning.mode, &reasoning.effort) {
        (Some(Field { name, value: Mode::Off }), _) => Field::new(name, Effort::None),
        (_, Some(effort)) => effort.clone(),
        (Some(Field { name, value: Mode::Adaptive }), None) => Field::new(name, Effort::Medium),
        // As other gateways translate budgets, so that a client meets the same everywhere.
        (Some(Field { name, value: Mode::Budget(tokens) }), None) => Field::new(
            name,
            match tokens {
                4096.. => Effort::High,
                2048.. => Effort::Medium,
                1024.. => Effort::Low,
                _ => Effort::Minimal,
            },
        ),
        (None, None) => return Ok(None),
    };
    // OpenAI's own words for OpenAI's own models are not ours to correct.
    let own = said.name.starts_with("reasoning") && !model.is_plain();
    let effort = if own { Some(said.value) } else { model.effort(said.value) };
    if effort.is_none() && said.value != Effort::None {
        writing.losses.hint(said.name)?;
    }
    Ok(effort)
}

/// What a provider takes that others refuse.
#[derive(Debug, Clone, Copy)]
pub(in crate::dialect) struct Takes {
    /// Who the user is.
    pub(in crate::dialect) user: bool,
    /// Metadata of an answer that is not stored.
    pub(in crate::dialect) metadata: bool,
}

/// The hints under their own names, but for `verbosity`, which is returned. Who the user is comes with them.
pub(in crate::dialect) fn write_hints(
    mut object: Object,
    conversation: &Conversation,
    writing: &mut Writing<'_>,
    takes: Takes,
) -> Step<(Object, Option<Json>)> {
    let mut verbosity = None;
    for (hint, field) in &conversation.hints {
        let key = match hint {
            Hint::Metadata if !takes.metadata => {
                writing.losses.hint(field.name)?;
                continue;
            }
            Hint::Metadata => "metadata",
            Hint::PromptCacheKey => "prompt_cache_key",
            Hint::PromptCacheRetention => "prompt_cache_retention",
            Hint::SafetyIdentifier => "safety_identifier",
            Hint::User => "user",
            Hint::Verbosity => {
                verbosity = Some(field.value.clone());
                continue;
            }
        };
        object = object.raw(key, &field.value);
    }
    if let Some(tier) = &conversation.tier {
        object = object.str("service_tier", &tier.value);
    }
    if let Some(user) = &conversation.user {
        if takes.user {
            object = write_user(object, &user.value.decode());
        } else {
            writing.losses.hint(user.name)?;
        }
    }
    Ok((object, verbosity))
}

/// Claude Code puts device, account and session into the user's id: the session is where a cache is shared, and only
/// hashes of it leave.
fn write_user(object: Object, user: &str) -> Object {
    const LONGEST: usize = 64;
    if let Ok(inner) = Value::parse(user.as_bytes())
        && inner.kind() == Kind::Object
    {
        let who = ["device_id", "account_uuid"].map(|key| inner.str_at(key).unwrap_or_default().into_owned());
        let object = object.str("safety_identifier", &hash(&who.join("\n")));
        return match inner.str_at("session_id") {
            Some(session) => object.str("prompt_cache_key", &hash(&session)),
            None => object,
        };
    }
    let identifier = if user.len() > LONGEST || is_personal(user) { hash(user) } else { user.to_owned() };
    object.str("safety_identifier", &identifier)
}

/// Whether a user's id looks like an e-mail address or a phone number, which Anthropic asks not to send.
pub(in crate::dialect) fn is_personal(user: &str) -> bool {
    let digits = user.chars().filter(char::is_ascii_digit).count();
    let phone = digits >= 7 && user.chars().all(|char| char.is_ascii_digit() || " +-().".contains(char));
    user.contains('@') || phone
}

/// Allowed tools as a list.
pub(in crate::dialect) fn write_allowed(required: bool, tools: impl IntoIterator<Item = String>) -> Object {
    Object::new().str("mode", if required { "required" } else { "auto" }).raw("tools", array(tools))
}

/// Says that a tool failed, for which there is no field.
pub(in crate::dialect) fn mark_error(parts: &mut Vec<Part>) {
    let mark = Text::new("Error: ");
    match parts.first_mut().map(|part| &mut part.kind) {
        Some(PartKind::Text(text)) => *text = join(&[&mark, text], ""),
        _ => parts.insert(0, Part::new(PartKind::Text(Text::new("Error")))),
    }
}

/// A choice that asks for a tool where none is left.
pub(in crate::dialect) fn forced(conversation: &Conversation) -> Option<&Field<ToolChoice>> {
    let choice = conversation.tool_choice.as_ref();
    choice.filter(|choice| !matches!(choice.value, ToolChoice::Auto | ToolChoice::None))
}

/// The choice, as far as it is a word.
pub(in crate::dialect) const fn write_choice_word(choice: &ToolChoice) -> Option<&'static str> {
    match choice {
        ToolChoice::Auto => Some("auto"),
        ToolChoice::Any => Some("required"),
        ToolChoice::None => Some("none"),
        ToolChoice::One(_) | ToolChoice::Allowed { .. } => None,
    }
}
