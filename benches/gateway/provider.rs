//! The provider's part: answers of Anthropic's Messages API, as the caller asks for them in a header.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::DefaultBodyLimit,
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use futures::stream;
use tokio::{net::TcpListener, time};

use crate::streams;

/// Which answer is wanted: `json`, `burst` or `paced`.
pub(crate) const ANSWER: &str = "x-bench-answer";
/// The pause before each event of a paced stream.
pub(crate) const PACE: Duration = Duration::from_millis(5);
/// How long the judge thinks.
const JUDGING: Duration = Duration::from_millis(5);
/// The judge's name among the models.
pub(crate) const JUDGE: &str = "judge";

pub(crate) async fn serve(listen: SocketAddr) {
    let listener = TcpListener::bind(listen).await.expect("the port is free");
    let router = Router::new()
        .route("/v1/messages", post(messages))
        .route("/v1/chat/completions", post(judge))
        .layer(DefaultBodyLimit::disable());
    axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), router)
        .await
        .expect("the provider serves");
}

async fn messages(headers: HeaderMap, _body: Bytes) -> Response {
    let kind = headers.get(ANSWER).map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    match &*kind {
        b"burst" => ([(CONTENT_TYPE, "text/event-stream")], events().concat()).into_response(),
        b"paced" => {
            let events = stream::unfold(events().into_iter(), |mut rest| async {
                let event = rest.next()?;
                time::sleep(PACE).await;
                Some((Ok::<_, std::convert::Infallible>(event), rest))
            });
            ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
        }
        _ => ([(CONTENT_TYPE, "application/json")], WHOLE).into_response(),
    }
}

/// A judge that lets everything pass.
async fn judge(_body: Bytes) -> Response {
    time::sleep(JUDGING).await;
    ([(CONTENT_TYPE, "application/json")], VERDICT).into_response()
}

const WHOLE: &str = r#"{"id":"msg_01","type":"message","role":"assistant","model":"m-1","content":[{"type":"text","text":"Once upon a time there was a gateway that stood between an agent and its model, and nothing went by unseen."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":412,"output_tokens":31,"cache_read_input_tokens":0,"cache_creation_input_tokens":0}}"#;

const VERDICT: &str = r#"{"id":"c1","object":"chat.completion","created":1,"model":"judge","choices":[{"index":0,"message":{"role":"assistant","content":"{\"decision\":\"pass\",\"explanation\":\"fine\",\"blocks\":[]}"},"finish_reason":"stop"}],"usage":{"prompt_tokens":300,"completion_tokens":20,"total_tokens":320}}"#;

/// The events of a stream, as the provider writes them.
pub(crate) fn events() -> Vec<String> {
    streams::events("anthropic_messages")
}
