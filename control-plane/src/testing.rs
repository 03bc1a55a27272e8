//! Controllers in one process, for tests: each with its own certificate and served over mutual TLS as
//! in the real process, but without the leader's loop, so that nothing is decided but by the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use decision::event::Event;
use futures::future::try_join_all;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use wire::authority::Authority;
use wire::connect::{ChannelOptions, channel};
use wire::host::Host;
use wire::identity::{Identity, TrustDomain};
use wire::listen::{HandshakeLimits, TlsListener};
use wire::serve::{ServeLimits, serve};
use wire::tls::{Credentials, Expect};

use crate::controller::Controller;
use crate::raft::{Commit, Fsync, Member, Settings, fdatasync, open_disk, open_store, start_on};
use crate::run;

pub(crate) const CLUSTER: &str = "group";
pub(crate) const SOON: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) struct Group {
    pub(crate) controllers: BTreeMap<u64, Arc<Controller>>,
    members: BTreeMap<u64, Member>,
    authority: Authority,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn controller(member: u64) -> Identity {
    Identity::Controller { region: format!("r{member}").as_str().into(), member }
}

fn credentials(authority: &Authority, host: &Host, identity: &Identity) -> Credentials {
    let pair = authority.issue(host, identity, &[], HOUR).unwrap();
    Credentials::from_pem(authority.pem(&pair), host.clock.clone()).unwrap()
}

impl Group {
    /// Members `1..=size`, which form no group yet: nobody leads.
    pub(crate) async fn start(size: u64) -> Group {
        Group::start_on(size, fdatasync()).await
    }

    /// On disks where `fsync` is what makes bytes durable.
    async fn start_on(size: u64, fsync: Fsync) -> Group {
        let (host, stop) = (Host::system(), CancellationToken::new());
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(&host, TrustDomain::new(CLUSTER).unwrap(), HOUR).unwrap();
        let (mut members, mut controllers) = (BTreeMap::new(), BTreeMap::new());
        for id in 1..=size {
            let listener = host.network.bind("127.0.0.1:0").await.unwrap();
            let (region, grpc) = (format!("r{id}"), listener.local_addr().unwrap().to_string());
            members.insert(id, Member { region: region.clone(), grpc, witness: false });
            let credentials = credentials(&authority, &host, &controller(id));
            let settings = Settings {
                heartbeat: Duration::from_millis(50),
                election_timeout_min: Duration::from_millis(300),
                election_timeout_max: Duration::from_millis(600),
                ..Settings::new(id, CLUSTER, folder.path().join(id.to_string()))
            };
            let disk = Arc::new(open_disk(&settings, fsync.clone()).unwrap());
            let dial = run::dial(&host, &credentials);
            let store = open_store(&settings, disk, Commit::Grouped).unwrap();
            let node = start_on(settings, store, dial).await.unwrap();
            let controller = Controller::new(node, host.clone(), credentials.clone(), region);
            let routes = run::routes(&controller, stop.clone());
            let listener = TlsListener::new(listener, credentials, HandshakeLimits::default());
            tokio::spawn(serve(listener, routes, ServeLimits::peers(), stop.clone()));
            controllers.insert(id, controller);
        }
        Group { controllers, members, authority, stop, _folder: folder }
    }

    pub(crate) async fn form(&self) {
        let nodes = self.controllers.values().map(|controller| controller.node.clone());
        let formed = nodes.map(|node| async move { node.initialize(self.members.clone()).await });
        try_join_all(formed).await.unwrap();
    }

    pub(crate) async fn formed(size: u64) -> Group {
        Group::formed_on(size, fdatasync()).await
    }

    pub(crate) async fn formed_on(size: u64, fsync: Fsync) -> Group {
        let group = Group::start_on(size, fsync).await;
        group.form().await;
        group
    }

    /// The leader, once it has proved that it is.
    pub(crate) async fn leader(&self) -> Arc<Controller> {
        self.until("a leader", |controller| controller.node.is_leader()).await;
        for controller in self.controllers.values() {
            if controller.node.is_leader() && controller.node.confirm_leadership(SOON).await.is_ok() {
                return controller.clone();
            }
        }
        panic!("the leader did not stay");
    }

    /// Waits until a controller is as asked, and gives it.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Controller) -> bool) -> Arc<Controller> {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < SOON {
            if let Some(found) = self.controllers.values().find(|controller| is_so(controller)) {
                return found.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: not within {SOON:?}");
    }

    /// A channel to a member for somebody with a certificate of this cluster.
    pub(crate) fn channel(&self, caller: &Identity, to: u64) -> Channel {
        let host = Host::system();
        let credentials = credentials(&self.authority, &host, caller);
        channel(&host, &credentials, &self.members[&to].grpc, Expect::Member(to), ChannelOptions::default())
    }
}

/// What its journal says was refused: to whom, what, and why.
pub(crate) fn refused(controller: &Controller) -> Vec<(String, String, String)> {
    let state = controller.state();
    let refused = state.journal.entries().filter_map(|entry| match &entry.event {
        Event::Refused { what, why } => Some((entry.by.clone(), what.clone(), why.clone())),
        _ => None,
    });
    refused.collect()
}
