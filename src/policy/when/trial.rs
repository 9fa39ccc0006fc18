//! What goes wrong with an expression is found when it is loaded, on two calls made for the purpose.

use cel::{
    ExecutionError, Value,
    common::ast::{Expr, IdedExpr, operators},
};

use super::{CallFacts, WhenError, context, shape::Shape, shortened, wrong};
use crate::model::Entrance;

/// Evaluates every condition of an expression, also those that the ones before would keep from being asked.
pub(super) fn run(expression: &IdedExpr, shape: &Shape<'_>) -> Result<(), WhenError> {
    // Every header that it could ask for is there. `1` can be read as text, number and truth value.
    let headers: Vec<(String, String)> = shape.texts.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
    let entrance = Entrance::default();
    let full = CallFacts {
        entrance: &entrance,
        id: "1",
        dialect: "openai_chat",
        model: "1",
        upstream: "1",
        path: "/v1/chat/completions",
        client: Some("1"),
        session: Some("1"),
        stream: true,
        headers: &headers,
    };
    let mut conditions = Vec::new();
    split(expression, &mut conditions);
    let context_of_full = context(&full);
    for condition in conditions {
        match Value::resolve(condition, &context_of_full) {
            Ok(Value::Bool(_)) => {}
            Ok(value) => {
                let message = format!("a condition is of type {}, not true or false", value.type_of());
                return Err(wrong(message, "compare it with something, as `call.model == \"gpt-5\"`"));
            }
            Err(error) if depends(&error) => {}
            Err(error) => {
                let message = format!("the expression cannot be evaluated: {}", shortened(&error.to_string()));
                return Err(wrong(message, "correct it; every value of `call` but `stream` and `headers` is a text"));
            }
        }
    }
    let bare = CallFacts { client: None, session: None, ..full };
    match Value::resolve(expression, &context(&bare)) {
        Err(error) if !depends(&error) => {
            let message = format!(
                "the expression fails where `call.client` or `call.session` is null: {}",
                shortened(&error.to_string())
            );
            Err(wrong(message, "ask for that first, as `call.client != null && call.client.startsWith(\"team-\")`"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The conditions that `&&`, `||`, `!` and `? :` put together.
fn split<'e>(node: &'e IdedExpr, into: &mut Vec<&'e IdedExpr>) {
    if let Expr::Call(call) = &node.expr
        && [operators::LOGICAL_AND, operators::LOGICAL_OR, operators::LOGICAL_NOT, operators::CONDITIONAL]
            .contains(&call.func_name.as_str())
    {
        call.args.iter().for_each(|argument| split(argument, into));
    } else {
        into.push(node);
    }
}

/// Whether another call may be without this error.
fn depends(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::NoSuchKey(_)
            | ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_)
            | ExecutionError::Overflow(..)
            | ExecutionError::IndexOutOfBounds(_)
    )
}
