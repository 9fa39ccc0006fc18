//! The gRPC service: one [`Call`] per stream, and a stream that cannot end OK before its call is over.

use std::{panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use envoy_types::pb::envoy::service::ext_proc::v3::{
    ProcessingRequest, ProcessingResponse,
    external_processor_server::{ExternalProcessor, ExternalProcessorServer},
};
use futures::{FutureExt, Stream, stream};
use tonic::{Request, Response, Status, Streaming};
use tonic_health::server::health_reporter;
use tracing::error;

use super::{call::Call, gateway::Gateway};

/// Envoy's messages carry whole chunks of bodies; tonic's own limit of 4 MiB would cut calls off.
const MESSAGE_LIMIT: usize = 64 << 20;

/// The external processor.
pub struct ExtProc {
    gateway: Arc<Gateway>,
}

impl ExtProc {
    /// The gRPC service of a gateway.
    pub fn server(gateway: Arc<Gateway>) -> ExternalProcessorServer<Self> {
        ExternalProcessorServer::new(Self { gateway })
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT)
    }
}

/// The gRPC health service, which says that the external processor serves.
pub async fn health() -> tonic_health::pb::health_server::HealthServer<impl tonic_health::pb::health_server::Health> {
    let (reporter, service) = health_reporter();
    reporter.set_serving::<ExternalProcessorServer<ExtProc>>().await;
    service
}

#[tonic::async_trait]
impl ExternalProcessor for ExtProc {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let call = Call::new(Arc::clone(&self.gateway), request.into_inner());
        Ok(Response::new(Box::pin(drive(call))))
    }
}

/// The answers of a call. The call runs inside this stream: when Envoy lets go of it, everything in it is dropped.
fn drive(call: Call) -> impl Stream<Item = Result<ProcessingResponse, Status>> {
    stream::unfold(Some(call), |call| async {
        let mut call = call?;
        match AssertUnwindSafe(call.next()).catch_unwind().await {
            Ok(Some(Ok(reply))) => Some((Ok(reply), Some(call))),
            // Envoy resets the client; nothing unread leaves.
            Ok(Some(Err(status))) => Some((Err(status), None)),
            Ok(None) => None,
            Err(_) => {
                error!("a call panicked; the client's connection is aborted");
                Some((Err(Status::internal("a call panicked")), None))
            }
        }
    })
}
