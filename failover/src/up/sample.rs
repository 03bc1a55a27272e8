//! The sample service: says which region answers.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use clap::Args;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use wire::host::Host;
use wire::serve::{ServeLimits, serve_plain};

use crate::cli::exit::{Exit, Failure, Outcome};

#[derive(Args)]
pub struct SampleArgs {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    region: String,
}

pub async fn sample_service(args: SampleArgs, host: &Host) -> Outcome {
    let address = args.listen.to_string();
    let listener = host
        .network
        .bind(&address)
        .await
        .map_err(|error| Failure::error(format!("cannot listen on {address}: {error}")))?;
    let body = Bytes::from(format!("hello from {}\n", args.region));
    let service = tower::service_fn(move |_: Request<Incoming>| {
        let body = body.clone();
        async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
    });
    serve_plain(listener, service, ServeLimits::public(), CancellationToken::new()).await;
    Ok(Exit::Done)
}
