//! Variables and `${…}`, as far as the script says their values.

use super::{
    parse::Unreadable,
    pattern::{HOME, MANY, ONE, UNKNOWN},
    scope::Value,
    walk::Walk,
    words::Mode,
};

impl Walk {
    /// One of the values of a variable. All are tried, one after the other; `None`: the script does not say any.
    pub(super) fn pick(&mut self, name: &str) -> Option<Value> {
        let values = self.scope.values(name);
        let chosen = self.choices.choose(name, values.len());
        values.into_iter().nth(chosen)
    }

    /// `$NAME`
    pub(super) fn variable(&mut self, name: &str) -> Value {
        self.pick(name).unwrap_or_else(Value::unknown)
    }

    /// `$1`, `$@` and the like.
    pub(super) fn special(&mut self, name: &str) -> Value {
        if name == "0" {
            return self.variable(name);
        }
        let Some(positional) = &self.scope.positional else {
            // A command of its own has no arguments.
            return if matches!(name, "@" | "*" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9") {
                Value::default()
            } else {
                Value::unknown()
            };
        };
        let mut all = Value::default();
        match (name, name.parse::<usize>()) {
            ("@" | "*", _) => {
                for (number, value) in positional.iter().enumerate() {
                    if number > 0 {
                        all.text.push(' ');
                    }
                    all.push(value);
                }
                all
            }
            (_, Ok(number @ 1..)) => positional.get(number - 1).cloned().unwrap_or_default(),
            _ => Value::unknown(),
        }
    }

    /// What stands between `${` and `}`.
    pub(super) fn parameter(&mut self, inner: &str) -> Result<Value, Unreadable> {
        if let Some(rest) = inner.strip_prefix('#').filter(|rest| !rest.is_empty()) {
            self.text(rest, Mode::Double)?;
            return Ok(Value::unknown());
        }
        let (is_indirect, inner) = inner.strip_prefix('!').map_or((false, inner), |rest| (true, rest));
        let end = inner.find(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
        let (name, mut rest) = inner.split_at(end.unwrap_or(inner.len()));
        let mut known = match name.chars().next() {
            None => {
                let mut chars = rest.chars();
                let name = chars.next().unwrap_or('@').to_string();
                rest = chars.as_str();
                Some(self.special(&name))
            }
            Some(first) if first.is_ascii_digit() => Some(self.special(name)),
            Some(_) => self.pick(name),
        };
        if is_indirect {
            known = known.and_then(|value| self.pick(&value.text));
        }
        if let Some(index) = rest.strip_prefix('[') {
            let (index, behind) = index.split_once(']').ok_or(Unreadable::Syntax)?;
            self.text(index, Mode::Double)?;
            rest = behind;
            known = known.map(|value| element(&value, index));
        }
        if rest.is_empty() {
            return Ok(known.unwrap_or_else(Value::unknown));
        }
        let length =
            if rest.starts_with([':']) && rest.get(1..).is_some_and(|rest| rest.starts_with(['-', '=', '?', '+'])) {
                2
            } else {
                1
            };
        let operator: String = rest.chars().take(length).collect();
        self.operated(name, known, &operator, rest)
    }

    fn operated(&mut self, name: &str, known: Option<Value>, operator: &str, rest: &str) -> Result<Value, Unreadable> {
        let behind = |length: usize| rest.get(length..).unwrap_or_default();
        match operator {
            ":-" | ":=" | "-" | "=" | ":?" | "?" | ":+" | "+" => {
                let word = self.text(behind(operator.len()), Mode::Word)?;
                let is_set = known.as_ref().is_some_and(|value| !value.text.is_empty());
                if operator.ends_with('=') && !is_set {
                    self.scope.assign(name, word.clone(), true)?;
                }
                Ok(match operator {
                    ":+" | "+" => word,
                    ":?" | "?" => known.unwrap_or_else(Value::unknown),
                    _ if is_set => known.unwrap_or_default(),
                    _ => word,
                })
            }
            _ if operator.starts_with(':') => {
                let range = self.text(behind(1), Mode::Double)?.text;
                Ok(part(name, known.as_ref(), &range))
            }
            _ => {
                let argument = behind(operator.chars().next().map_or(0, char::len_utf8));
                self.text(argument, Mode::Word)?;
                Ok(known.and_then(|value| changed(&value, rest)).unwrap_or_else(Value::unknown))
            }
        }
    }
}

/// `${NAME[INDEX]}`: arrays are kept as words between blanks.
fn element(value: &Value, index: &str) -> Value {
    let text = match (index, index.parse::<usize>()) {
        ("@" | "*", _) => value.text.clone(),
        (_, Ok(number)) => value.text.split(' ').nth(number).unwrap_or_default().to_owned(),
        _ => UNKNOWN.to_string(),
    };
    Value { text, from: value.from.clone() }
}

/// `${NAME:2:1}`
fn part(name: &str, known: Option<&Value>, range: &str) -> Value {
    let mut ends = range.split(':').map(|end| end.trim().parse::<usize>());
    let (Some(Ok(start)), length) = (ends.next(), ends.next()) else { return Value::unknown() };
    let length = match length {
        None => None,
        Some(Ok(length)) => Some(length),
        Some(Err(_)) => return Value::unknown(),
    };
    // These begin with a slash wherever the command runs.
    let begins_with_slash = matches!(name, "PATH" | "HOME" | "PWD" | "SHELL" | "OLDPWD");
    let Some(value) = known.filter(|value| !value.text.contains([HOME, UNKNOWN, '.']) || !begins_with_slash) else {
        let is_slash = begins_with_slash && start == 0 && length == Some(1);
        return if is_slash { Value::of("/") } else { Value::unknown() };
    };
    let text = value.text.chars().skip(start).take(length.unwrap_or(usize::MAX)).collect();
    Value { text, from: value.from.clone() }
}

/// `${NAME/a/b}`, `${NAME#a}`, `${NAME^^}` and the like, where no pattern is in the way.
fn changed(value: &Value, operation: &str) -> Option<Value> {
    let text = &value.text;
    let literal = |text: &str| !text.contains(['*', '?', '[', '\\', '$', '`', '\'', '"', MANY, ONE]);
    let new = if let Some(rest) = operation.strip_prefix("//") {
        let (from, to) = rest.split_once('/').unwrap_or((rest, ""));
        (literal(from) && literal(to) && !from.is_empty()).then(|| text.replace(from, to))
    } else if let Some(rest) = operation.strip_prefix('/') {
        let (from, to) = rest.split_once('/').unwrap_or((rest, ""));
        (literal(from) && literal(to) && !from.starts_with(['#', '%'])).then(|| text.replacen(from, to, 1))
    } else if let Some(rest) = operation.strip_prefix('#') {
        let rest = rest.strip_prefix('#').unwrap_or(rest);
        literal(rest).then(|| text.strip_prefix(rest).unwrap_or(text).to_owned())
    } else if let Some(rest) = operation.strip_prefix('%') {
        let rest = rest.strip_prefix('%').unwrap_or(rest);
        literal(rest).then(|| text.strip_suffix(rest).unwrap_or(text).to_owned())
    } else {
        match operation {
            "^^" | "@U" => Some(text.to_uppercase()),
            ",," | "@L" => Some(text.to_lowercase()),
            _ => None,
        }
    };
    new.map(|text| Value { text, from: value.from.clone() })
}
