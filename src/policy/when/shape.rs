//! What an expression is made of: its limits, and what it looks at.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, operators};

use super::{FIELDS, WhenError, wrong};
use crate::model::Dialect;

/// How deep an expression may be. Evaluation takes some of the stack for each level.
const DEEPEST: usize = 32;

/// How many macros may stand in each other: each goes through all headers for each header of the one around it.
const MOST_LOOPS: usize = 2;

/// How many `+` there may be: within macros they multiply what they put together.
const MOST_SUMS: usize = 16;

/// Functions and macros. Others of CEL are about types that a call does not have.
const FUNCTIONS: [&str; 13] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "or",
    "orValue",
    "hasValue",
];
const MACROS: &str = "`has`, `all`, `exists`, `exists_one`, `map`, `filter`";

/// What an expression looks at.
#[derive(Default)]
pub(super) struct Shape<'e> {
    /// The fields of `call`.
    pub(super) fields: BTreeSet<&'e str>,
    /// It takes `call` as a value of its own, as in `size(call)`.
    pub(super) takes_the_whole: bool,
    /// Every text in it and every key that it selects.
    pub(super) texts: BTreeSet<&'e str>,
    bound: Vec<&'e str>,
    sums: usize,
}

impl<'e> Shape<'e> {
    pub(super) fn of(expression: &'e IdedExpr) -> Result<Self, WhenError> {
        let mut shape = Self::default();
        shape.walk(expression, 0, 0)?;
        Ok(shape)
    }

    fn walk(&mut self, node: &'e IdedExpr, depth: usize, loops: usize) -> Result<(), WhenError> {
        if depth > DEEPEST {
            return Err(too_deep());
        }
        let next = depth + 1;
        match &node.expr {
            Expr::Unspecified => Ok(()),
            Expr::Literal(literal) => {
                self.texts.extend(text(literal));
                Ok(())
            }
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                self.texts.insert(&select.field);
                if self.is_call(&select.operand) {
                    return self.field(&select.field);
                }
                self.walk(&select.operand, next, loops)
            }
            Expr::Call(call) => self.call(call, next, loops),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.walk(element, next, loops)),
            Expr::Map(map) => self.entries(&map.entries, next, loops),
            Expr::Struct(object) => {
                Err(wrong(format!("there is no type `{}`", object.type_name), "compare texts, numbers, lists and maps"))
            }
            Expr::Comprehension(macro_) => {
                if loops == MOST_LOOPS {
                    let message = format!("more than {MOST_LOOPS} macros stand in each other");
                    return Err(wrong(
                        message,
                        "ask for single headers by their names, as `\"x-team\" in call.headers`",
                    ));
                }
                self.walk(&macro_.iter_range, next, loops)?;
                let outer = self.bound.len();
                self.bound.extend([macro_.iter_var.as_str(), macro_.accu_var.as_str()]);
                self.bound.extend(macro_.iter_var2.as_deref());
                for part in [&macro_.accu_init, &macro_.loop_cond, &macro_.loop_step, &macro_.result] {
                    self.walk(part, next, loops + 1)?;
                }
                self.bound.truncate(outer);
                Ok(())
            }
        }
    }

    fn call(&mut self, call: &'e CallExpr, depth: usize, loops: usize) -> Result<(), WhenError> {
        let name = call.func_name.as_str();
        self.sums += usize::from(name == operators::ADD);
        if self.sums > MOST_SUMS {
            return Err(wrong(format!("there are more than {MOST_SUMS} `+`"), "write the sum itself"));
        }
        if name.starts_with(|first: char| first.is_ascii_alphabetic()) && !FUNCTIONS.contains(&name) {
            let known = FUNCTIONS.map(|name| format!("`{name}`")).join(", ");
            return Err(wrong(format!("there is no function `{name}`"), format!("there are {known}, {MACROS}")));
        }
        if let Some(target) = &call.target {
            self.walk(target, depth, loops)?;
        }
        let indexes = [operators::INDEX, operators::OPT_INDEX, operators::OPT_SELECT].contains(&name);
        match call.args.as_slice() {
            [of, key] if indexes && self.is_call(of) && literal(key).is_some() => {
                let field = literal(key).unwrap_or_default();
                self.texts.insert(field);
                self.field(field)
            }
            [one, other] => {
                let (of, key) = if name == operators::IN { (other, one) } else { (one, other) };
                if (indexes || name == operators::IN) && self.is_headers(of) {
                    header(literal(key))?;
                }
                if [operators::EQUALS, operators::NOT_EQUALS, operators::IN].contains(&name) {
                    self.dialect(one, other)?;
                    self.dialect(other, one)?;
                }
                self.walk(one, depth, loops)?;
                self.walk(other, depth, loops)?;
                self.comparable(name, one, other)
            }
            all => all.iter().try_for_each(|argument| self.walk(argument, depth, loops)),
        }
    }

    fn entries(&mut self, entries: &'e [IdedEntryExpr], depth: usize, loops: usize) -> Result<(), WhenError> {
        for entry in entries {
            match &entry.expr {
                EntryExpr::StructField(field) => self.walk(&field.value, depth, loops)?,
                EntryExpr::MapEntry(entry) => {
                    self.walk(&entry.key, depth, loops)?;
                    self.walk(&entry.value, depth, loops)?;
                }
            }
        }
        Ok(())
    }

    fn variable(&mut self, name: &'e str) -> Result<(), WhenError> {
        if self.bound.contains(&name) {
            return Ok(());
        }
        if name == "call" {
            self.takes_the_whole = true;
            return Ok(());
        }
        let remedy = if FIELDS.contains(&name) {
            format!("write `call.{name}`")
        } else {
            format!("there is only `call`, with {}; texts stand in quotes", fields())
        };
        Err(wrong(format!("there is no variable `{name}`"), remedy))
    }

    fn field(&mut self, name: &'e str) -> Result<(), WhenError> {
        if FIELDS.contains(&name) {
            self.fields.insert(name);
            return Ok(());
        }
        Err(wrong(format!("`call` has no `{name}`"), format!("it has {}", fields())))
    }

    fn is_call(&self, node: &IdedExpr) -> bool {
        matches!(&node.expr, Expr::Ident(name) if name == "call") && !self.bound.contains(&"call")
    }

    /// A dialect that is compared with what none is called is a condition that never fits.
    fn dialect(&self, one: &IdedExpr, other: &IdedExpr) -> Result<(), WhenError> {
        let is_dialect = matches!(&one.expr, Expr::Select(select)
            if select.field == "dialect" && self.is_call(&select.operand));
        let listed = if let Expr::List(list) = &other.expr { list.elements.as_slice() } else { &[] };
        let mut compared = std::iter::once(other).chain(listed).filter(|_| is_dialect).filter_map(literal);
        match compared.find(|name| Dialect::ALL.iter().all(|dialect| dialect.name() != *name)) {
            Some(unknown) => {
                let known = Dialect::ALL.map(|dialect| format!("`{}`", dialect.name())).join(", ");
                Err(wrong(format!("there is no dialect `{unknown}`"), format!("there are {known}")))
            }
            None => Ok(()),
        }
    }

    /// What can never be equal, because it is of another type, is a condition that never fits.
    fn comparable(&self, operator: &str, one: &IdedExpr, other: &IdedExpr) -> Result<(), WhenError> {
        let listed = match (operator, &other.expr) {
            (operators::IN, Expr::List(list)) => list.elements.as_slice(),
            (operators::EQUALS | operators::NOT_EQUALS, _) => std::slice::from_ref(other),
            _ => return Ok(()),
        };
        let Some(kind) = self.kind(one) else { return Ok(()) };
        match listed.iter().filter_map(|other| self.kind(other)).find(|other| *other != kind) {
            Some(other) => Err(wrong(
                format!("{kind} is compared with {other}, which is never the same"),
                "compare texts with texts, as `call.model == \"gpt-5\"`, and write conditions as they are, as `call.stream`",
            )),
            None => Ok(()),
        }
    }

    /// The type of an expression, as far as it is plain to see.
    fn kind(&self, node: &IdedExpr) -> Option<&'static str> {
        const TEXT: Option<&str> = Some("a text");
        const NUMBER: Option<&str> = Some("a number");
        const TRUTH: Option<&str> = Some("true or false");
        match &node.expr {
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => TRUTH,
                LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => NUMBER,
                LiteralValue::String(_) => TEXT,
                LiteralValue::Bytes(_) => Some("bytes"),
                LiteralValue::Null => None,
            },
            Expr::Select(select) if self.is_call(&select.operand) => match select.field.as_str() {
                "stream" => TRUTH,
                "headers" => Some("a map"),
                _ => TEXT,
            },
            Expr::Select(select) if self.is_headers(&select.operand) => TEXT,
            Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::INDEX, [of, _]) if self.is_headers(of) => TEXT,
                ("size" | "int" | "uint" | "double", _) => NUMBER,
                ("string", _) => TEXT,
                (
                    "contains"
                    | "startsWith"
                    | "endsWith"
                    | "matches"
                    | "bool"
                    | "hasValue"
                    | operators::EQUALS
                    | operators::NOT_EQUALS
                    | operators::GREATER
                    | operators::GREATER_EQUALS
                    | operators::LESS
                    | operators::LESS_EQUALS
                    | operators::LOGICAL_AND
                    | operators::LOGICAL_OR
                    | operators::LOGICAL_NOT
                    | operators::IN,
                    _,
                ) => TRUTH,
                _ => None,
            },
            Expr::List(_) => Some("a list"),
            Expr::Map(_) => Some("a map"),
            Expr::Unspecified | Expr::Ident(_) | Expr::Select(_) | Expr::Struct(_) | Expr::Comprehension(_) => None,
        }
    }

    fn is_headers(&self, node: &IdedExpr) -> bool {
        matches!(&node.expr, Expr::Select(select) if select.field == "headers" && self.is_call(&select.operand))
    }
}

pub(super) fn too_deep() -> WhenError {
    let message = format!("the expression is more than {DEEPEST} levels deep");
    wrong(message, "write it flat: conditions side by side with `&&` and `||`, lists with `in`")
}

/// A header that is asked for by a name that none can have is a condition that never fits.
fn header(name: Option<&str>) -> Result<(), WhenError> {
    match name.map(|name| (name, name.to_ascii_lowercase())) {
        Some((name, lower)) if name != lower => {
            Err(wrong(format!("no header has the name `{name}`: names are in lower case"), format!("write `{lower}`")))
        }
        Some(_) | None => Ok(()),
    }
}

fn fields() -> String {
    FIELDS.map(|field| format!("`{field}`")).join(", ")
}

fn literal(node: &IdedExpr) -> Option<&str> {
    if let Expr::Literal(literal) = &node.expr { text(literal) } else { None }
}

fn text(literal: &LiteralValue) -> Option<&str> {
    if let LiteralValue::String(text) = literal { Some(text.inner()) } else { None }
}
