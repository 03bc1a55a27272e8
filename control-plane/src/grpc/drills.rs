//! For whoever causes a fault on purpose: is it to go on?

use std::sync::Arc;
use std::time::Duration;

use decision::drill::{Drill, DrillId};
use tonic::{Request, Response, Status};
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::drills_server;

use crate::controller::Controller;

/// What was confirmed with a majority longer ago says nothing.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(5);

pub struct Drills(pub Arc<Controller>);

#[tonic::async_trait]
impl drills_server::Drills for Drills {
    async fn is_running(&self, request: Request<pb::DrillQuery>) -> Result<Response<pb::DrillReply>, Status> {
        let id = DrillId(request.into_inner().drill);
        let running = self.0.state().drills.get(&id).map(|drill| Drill::is_running(drill));
        let confirmed = self.0.host.clock.now().since(self.0.freshness.at()) <= CONFIRMED_WITHIN;
        match running {
            // What is over stays over, however old the state is.
            Some(false) => Ok(Response::new(pb::DrillReply { running: false })),
            Some(true) if confirmed => Ok(Response::new(pb::DrillReply { running: true })),
            Some(true) => Err(Status::unavailable("this controller has no majority: it cannot tell")),
            None => Err(Status::not_found(format!("{id} is not known here yet"))),
        }
    }
}
