//! For operators: questions, wishes, and documents as they change.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use wire::api::{Intent, Query};
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::operator_server;

use super::caller;
use crate::controller::Controller;
use crate::documents::{self, Answer, ApiError};

/// Shortest time between two documents of one watch.
const WATCH_AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// A watch says at least this often that nothing changed, by the same document.
const WATCH_AT_LEAST_EVERY: Duration = Duration::from_secs(2);

pub struct Operator(pub Arc<Controller>);

#[tonic::async_trait]
impl operator_server::Operator for Operator {
    type WatchStream = BoxStream<'static, Result<pb::Document, Status>>;

    async fn read(&self, request: Request<pb::ReadRequest>) -> Result<Response<pb::Document>, Status> {
        let request = request.into_inner();
        let query = read_query(&request)?;
        let answer = documents::answer(&self.0, query, request.stale_ok).await.map_err(status)?;
        Ok(Response::new(document(answer)))
    }

    async fn r#do(&self, request: Request<pb::DoRequest>) -> Result<Response<pb::Document>, Status> {
        let by = caller(&request)?.to_string();
        let intent: Intent = serde_json::from_slice(&request.into_inner().json)
            .map_err(|error| Status::invalid_argument(format!("the wish cannot be read: {error}")))?;
        let reply = documents::intent(&self.0, intent, &by).await.map_err(status)?;
        let json = serde_json::to_vec(&reply).map_err(|error| Status::internal(error.to_string()))?;
        let state = self.0.state();
        Ok(Response::new(pb::Document {
            json: json.into(),
            index: state.index,
            stale: false,
            as_of_ms: state.now.0,
            member: self.0.node.id(),
        }))
    }

    async fn watch(&self, request: Request<pb::ReadRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let query = read_query(&request)?;
        let controller = self.0.clone();
        let mut applied = controller.node.view().applied();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                applied.borrow_and_update();
                let answer = documents::answer(&controller, query.clone(), request.stale_ok).await;
                if sender.send(answer.map(document).map_err(status)).await.is_err() {
                    return;
                }
                tokio::time::sleep(WATCH_AT_MOST_EVERY).await;
                tokio::select! {
                    () = sender.closed() => return,
                    () = tokio::time::sleep(WATCH_AT_LEAST_EVERY) => {}
                    changed = applied.changed() => if changed.is_err() { return },
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }
}

fn read_query(request: &pb::ReadRequest) -> Result<Query, Status> {
    serde_json::from_slice(&request.json)
        .map_err(|error| Status::invalid_argument(format!("the question cannot be read: {error}")))
}

fn document(answer: Answer) -> pb::Document {
    pb::Document {
        json: answer.json.into(),
        index: answer.index,
        stale: answer.stale,
        as_of_ms: answer.as_of.0,
        member: answer.member,
    }
}

/// Unavailable means: surely nothing was done, ask another controller.
fn status(error: ApiError) -> Status {
    let text = error.to_string();
    match error {
        ApiError::NotFound(_) => Status::not_found(text),
        ApiError::Invalid(_) => Status::invalid_argument(text),
        ApiError::Unavailable(_) => Status::unavailable(text),
        ApiError::Unknown(_) => Status::unknown(text),
    }
}
