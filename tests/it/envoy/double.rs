//! The smallest ext_proc service: sends every call to one cluster and every body on, and keeps what it was told.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::config::core::v3::{
    HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
};
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::{
    ExternalProcessor, ExternalProcessorServer,
};
use envoy_types::pb::envoy::service::ext_proc::v3::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, HttpBody, ProcessingRequest,
    ProcessingResponse, StreamedBodyResponse, TrailersResponse, body_mutation, processing_request::Request,
    processing_response::Response,
};
use futures::{Stream, StreamExt as _};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::Status;

/// What was told and what is answered. Clones share both.
#[derive(Clone, Default)]
pub(super) struct Double {
    pub(super) seen: Arc<Mutex<Vec<ProcessingRequest>>>,
    pub(super) upstream: &'static str,
}

impl Double {
    pub(super) async fn serve(self, socket: &Path) {
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        tonic::transport::Server::builder()
            .add_service(ExternalProcessorServer::new(self))
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await
            .unwrap();
    }

    /// An attribute of the first message that has it, as its text or number.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        use envoy_types::pb::google::protobuf::value::Kind;
        let seen = self.seen.lock().unwrap();
        let mut values = seen.iter().filter_map(|m| m.attributes.get("envoy.filters.http.ext_proc")?.fields.get(name));
        match values.next()?.kind.as_ref()? {
            Kind::StringValue(text) => Some(text.clone()),
            Kind::NumberValue(number) => Some(number.to_string()),
            other @ (Kind::NullValue(_) | Kind::BoolValue(_) | Kind::StructValue(_) | Kind::ListValue(_)) => {
                panic!("{name} is {other:?}")
            }
        }
    }

    /// A header of the first request.
    pub(super) fn request_header(&self, name: &str) -> Option<String> {
        let seen = self.seen.lock().unwrap();
        let Some(Request::RequestHeaders(headers)) = seen.iter().find_map(|m| m.request.as_ref()) else { return None };
        let list = &headers.headers.as_ref().unwrap().headers;
        list.iter().find(|h| h.key == name).map(|h| String::from_utf8(h.raw_value.clone()).unwrap())
    }

    fn answer(&self, request: &Request) -> Response {
        match request {
            Request::RequestHeaders(_) => Response::RequestHeaders(HeadersResponse {
                response: Some(CommonResponse {
                    header_mutation: Some(HeaderMutation {
                        set_headers: vec![set("x-luthien-upstream", self.upstream), set("x-luthien-call-id", "1")],
                        remove_headers: vec!["accept-encoding".to_owned()],
                    }),
                    ..CommonResponse::default()
                }),
            }),
            Request::ResponseHeaders(_) => Response::ResponseHeaders(HeadersResponse::default()),
            Request::RequestBody(body) => Response::RequestBody(same(body)),
            Request::ResponseBody(body) => Response::ResponseBody(same(body)),
            Request::RequestTrailers(_) => Response::RequestTrailers(TrailersResponse::default()),
            Request::ResponseTrailers(_) => Response::ResponseTrailers(TrailersResponse::default()),
        }
    }
}

fn set(key: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: key.to_owned(), raw_value: value.into(), ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

fn same(body: &HttpBody) -> BodyResponse {
    let streamed = StreamedBodyResponse {
        body: body.body.clone(),
        end_of_stream: body.end_of_stream,
        ..StreamedBodyResponse::default()
    };
    let mutation = BodyMutation { mutation: Some(body_mutation::Mutation::StreamedResponse(streamed)) };
    BodyResponse { response: Some(CommonResponse { body_mutation: Some(mutation), ..CommonResponse::default() }) }
}

#[tonic::async_trait]
impl ExternalProcessor for Double {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: tonic::Request<tonic::Streaming<ProcessingRequest>>,
    ) -> Result<tonic::Response<Self::ProcessStream>, Status> {
        let double = self.clone();
        let answers = request.into_inner().map(move |message| {
            let message = message?;
            let response = message.request.as_ref().map(|request| double.answer(request));
            double.seen.lock().unwrap().push(message);
            Ok(ProcessingResponse { response, ..ProcessingResponse::default() })
        });
        Ok(tonic::Response::new(Box::pin(answers)))
    }
}
