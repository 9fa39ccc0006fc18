//! Envoy sends no bodies by itself, and its ext_proc service ends before it has answered the headers of a request: nothing goes on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::ProcessingMode;
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::{BodySendMode, HeaderSendMode};
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::{
    ExternalProcessor, ExternalProcessorServer,
};
use envoy_types::pb::envoy::service::ext_proc::v3::{ProcessingRequest, ProcessingResponse};
use futures::{Stream, StreamExt as _, stream};
use luthien::config::extproc::SentBodies;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::Status;

use super::gateway::{Gateway, demo_at};

/// What the service does with the messages of a request.
#[derive(Debug, Clone, Copy)]
enum Service {
    /// Breaks off at the headers.
    Fails,
    /// Ends at the headers, as if all were well.
    Ends,
    /// Asks for the bodies, and breaks off when the first part comes.
    AsksAndFails,
    /// Asks for the bodies, and ends when the first part comes.
    AsksAndEnds,
}

#[derive(Clone)]
struct Broken {
    does: Service,
    /// How many messages came.
    seen: Arc<AtomicUsize>,
}

fn asking() -> ProcessingResponse {
    let (full, send) = (BodySendMode::FullDuplexStreamed.into(), HeaderSendMode::Send.into());
    let mode = ProcessingMode {
        request_body_mode: full,
        response_body_mode: full,
        request_trailer_mode: send,
        response_trailer_mode: send,
        ..ProcessingMode::default()
    };
    ProcessingResponse { mode_override: Some(mode), ..ProcessingResponse::default() }
}

#[tonic::async_trait]
impl ExternalProcessor for Broken {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: tonic::Request<tonic::Streaming<ProcessingRequest>>,
    ) -> Result<tonic::Response<Self::ProcessStream>, Status> {
        let Self { does, seen } = self.clone();
        let answers = stream::unfold((request.into_inner(), 0), move |(mut messages, number)| {
            let seen = Arc::clone(&seen);
            async move {
                messages.next().await?.ok()?;
                seen.fetch_add(1, Ordering::Relaxed);
                let fails = || Some(Err(Status::internal("broken")));
                let answer = match (does, number) {
                    (Service::AsksAndFails | Service::AsksAndEnds, 0) => Some(Ok(asking())),
                    (Service::Fails | Service::AsksAndFails, _) => fails(),
                    (Service::Ends | Service::AsksAndEnds, _) => None,
                };
                Some((answer?, (messages, number + 1)))
            }
        });
        Ok(tonic::Response::new(Box::pin(answers)))
    }
}

#[tokio::test]
async fn what_the_service_has_not_answered_never_reaches_a_provider() {
    for (does, messages) in
        [(Service::Fails, 1), (Service::Ends, 1), (Service::AsksAndFails, 2), (Service::AsksAndEnds, 2)]
    {
        let mut gateway = Gateway::new();
        gateway.settings.extproc.bodies = SentBodies::WhenNeeded;
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let provider = Router::new().fallback(move || async move {
            counted.fetch_add(1, Ordering::Relaxed);
            "the provider was here"
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        gateway.placement.demo = Some(demo_at(&listener));
        let broken = Broken { does, seen: Arc::default() };
        let service = tonic::transport::Server::builder()
            .add_service(ExternalProcessorServer::new(broken.clone()))
            .serve_with_incoming(UnixListenerStream::new(UnixListener::bind(gateway.extproc_socket()).unwrap()));
        let client = async |base| {
            let request = super::http().post(format!("{base}/v1/messages")).body("{}");
            // Named by the client, for want of another way there.
            let request = request.header("x-luthien-upstream", "demo");
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 503, "{does:?}");
            assert!(!answer.text().await.unwrap().contains("was here"), "{does:?}");
        };
        tokio::select! {
            ended = service => panic!("the service ended: {ended:?}"),
            served = axum::serve(listener, provider) => panic!("the provider ended: {served:?}"),
            () = gateway.run(client) => {}
        }
        assert_eq!(asked.load(Ordering::Relaxed), 0, "{does:?}");
        assert_eq!(broken.seen.load(Ordering::Relaxed), messages, "{does:?}");
    }
}
