//! The smallest external processor in full duplex: what comes goes back. No gateway of this design can cost less.

use std::{path::Path, pin::Pin};

use envoy_types::pb::envoy::{
    config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
    service::ext_proc::v3::{
        BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, HttpBody, ProcessingRequest,
        ProcessingResponse, StreamedBodyResponse, TrailersResponse,
        body_mutation::Mutation,
        external_processor_server::{ExternalProcessor, ExternalProcessorServer},
        processing_request::Request as Incoming,
        processing_response::Response as Outgoing,
    },
};
use futures::{Stream, StreamExt};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::subject::UPSTREAM;

const LIMIT: usize = 64 << 20;

struct Echo;

#[tonic::async_trait]
impl ExternalProcessor for Echo {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let replies = request.into_inner().map(|message| message.map(answer));
        Ok(Response::new(Box::pin(replies)))
    }
}

fn answer(message: ProcessingRequest) -> ProcessingResponse {
    let response = match message.request {
        Some(Incoming::RequestHeaders(_)) => Outgoing::RequestHeaders(headers(vec![route()])),
        Some(Incoming::ResponseHeaders(_)) => Outgoing::ResponseHeaders(headers(Vec::new())),
        Some(Incoming::RequestBody(body)) => Outgoing::RequestBody(same(body)),
        Some(Incoming::ResponseBody(body)) => Outgoing::ResponseBody(same(body)),
        Some(Incoming::RequestTrailers(_)) => Outgoing::RequestTrailers(TrailersResponse::default()),
        Some(Incoming::ResponseTrailers(_)) => Outgoing::ResponseTrailers(TrailersResponse::default()),
        None => panic!("Envoy sent a message without content"),
    };
    ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }
}

fn headers(set_headers: Vec<HeaderValueOption>) -> HeadersResponse {
    let mutation = HeaderMutation { set_headers, ..HeaderMutation::default() };
    let common = CommonResponse { header_mutation: Some(mutation), ..CommonResponse::default() };
    HeadersResponse { response: Some(common) }
}

/// The same way to the provider as Luthien's.
fn route() -> HeaderValueOption {
    let header = HeaderValue { key: "x-luthien-upstream".into(), raw_value: UPSTREAM.into(), ..HeaderValue::default() };
    HeaderValueOption {
        header: Some(header),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

fn same(body: HttpBody) -> BodyResponse {
    let streamed =
        StreamedBodyResponse { body: body.body, end_of_stream: body.end_of_stream, ..StreamedBodyResponse::default() };
    let mutation = BodyMutation { mutation: Some(Mutation::StreamedResponse(streamed)) };
    let common = CommonResponse { body_mutation: Some(mutation), ..CommonResponse::default() };
    BodyResponse { response: Some(common) }
}

pub(crate) async fn serve(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("the socket can be bound");
    let service = ExternalProcessorServer::new(Echo).max_decoding_message_size(LIMIT).max_encoding_message_size(LIMIT);
    Server::builder()
        // As Luthien's, so that the same flow control holds.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(64 << 20)
        .add_service(service)
        .serve_with_incoming(UnixListenerStream::new(listener))
        .await
        .expect("the echo serves");
}
