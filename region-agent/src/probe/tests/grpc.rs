use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use wire::host::{Network, TcpNetwork};
use wire::proto::grpc::health::v1::health_check_response::ServingStatus;
use wire::proto::grpc::health::v1::health_server::{Health, HealthServer};
use wire::proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};
use wire::serve::{ServeLimits, serve_plain};

use super::*;

struct Serving(Arc<AtomicUsize>);

#[tonic::async_trait]
impl Health for Serving {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let status = match &*request.get_ref().service {
            "" | "web" => ServingStatus::Serving,
            "db" => ServingStatus::NotServing,
            "stuck" => std::future::pending().await,
            other => return Err(Status::not_found(format!("no service {other}"))),
        };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }
}

async fn start(stop: &CancellationToken) -> (String, Arc<AtomicUsize>) {
    let listener = TcpNetwork.bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let service = HealthServer::new(Serving(Arc::clone(&asked)));
    let limits = ServeLimits { grace: Duration::ZERO, ..ServeLimits::public() };
    tokio::spawn(serve_plain(listener, service, limits, stop.clone()));
    (url, asked)
}

fn ask(url: &str, service: &str) -> Check {
    check(Probe::Grpc { url: url.to_owned(), service: service.to_owned() })
}

#[tokio::test]
async fn the_answer_of_the_health_service_decides() {
    let stop = CancellationToken::new();
    let (url, asked) = start(&stop).await;
    let prober = prober();
    assert_eq!(prober.probe(&ask(&url, ""), SOON).await, Ok(()));
    assert_eq!(prober.probe(&ask(&url, "web"), SOON).await, Ok(()));
    assert_eq!(prober.probe(&ask(&url, "db"), SOON).await, Err("answered NOT_SERVING".into()));
    let unknown = prober.probe(&ask(&url, "mail"), SOON).await;
    assert_eq!(unknown, Err("answered NotFound: no service mail".into()));
    assert_eq!(prober.probe(&ask(&url, "stuck"), SHORT).await, Err("no answer within 400ms".into()));
    assert_eq!(asked.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_server_that_went_and_came_back_is_seen_both_times() {
    let stop = CancellationToken::new();
    let (url, _) = start(&stop).await;
    let prober = prober();
    assert_eq!(prober.probe(&ask(&url, ""), SOON).await, Ok(()));
    stop.cancel();
    let address = url.trim_start_matches("http://").to_owned();
    let gone = tokio::time::timeout(SOON, async {
        while prober.probe(&ask(&url, ""), SOON).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    gone.await.unwrap();
    assert_eq!(prober.probe(&ask(&url, ""), SOON).await, Err("connection refused".into()));
    let listener = TcpNetwork.bind(&address).await.unwrap();
    let service = HealthServer::new(Serving(Arc::default()));
    tokio::spawn(serve_plain(listener, service, ServeLimits::public(), CancellationToken::new()));
    assert_eq!(prober.probe(&ask(&url, ""), SOON).await, Ok(()));
}

#[tokio::test]
async fn what_speaks_no_grpc_fails() {
    use tokio::io::AsyncWriteExt;
    let little = Little::start(|_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        std::future::pending().await
    })
    .await;
    let url = format!("http://{}", little.address);
    assert!(prober().probe(&ask(&url, ""), SHORT).await.is_err());
}
