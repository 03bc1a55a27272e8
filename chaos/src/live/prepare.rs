//! What has to be there before anything is started: folders, certificates, a password, the context of
//! the operator's command.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::unistd::{User, chown};
use wire::authority::Authority;
use wire::host::Host;
use wire::identity::{Identity, TrustDomain};
use wire::tls::Files;

use super::layout::{GRPC_PORT, Layout};
use super::small_disk::SmallDisk;

pub(super) const CLUSTER: &str = "regent-live";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const OS_USER: &str = "postgres";

pub(super) struct Prepared {
    /// By region; none where databases share the machine's.
    pub disks: BTreeMap<&'static str, SmallDisk>,
    pub controllers: Vec<Files>,
    pub agents: Vec<Files>,
    pub context: PathBuf,
}

pub(super) fn prepare(layout: &Layout, with_disks: bool) -> anyhow::Result<Prepared> {
    let host = Host::system();
    let pki = layout.folder.join("pki");
    let authority = Authority::create(&host, TrustDomain::new(CLUSTER)?, YEAR)?;
    authority.save(&pki)?;
    let issue = |name: &str, identity: Identity| -> anyhow::Result<Files> {
        let files = Files {
            certificate: pki.join(format!("{name}.pem")),
            key: pki.join(format!("{name}-key.pem")),
            ca: pki.join("ca.pem"),
        };
        authority.write(&authority.issue(&host, &identity, &[], YEAR)?, &files)?;
        Ok(files)
    };
    let (mut controllers, mut agents, mut disks) = (Vec::new(), Vec::new(), BTreeMap::new());
    for region in &layout.regions {
        let identity = Identity::Controller { region: region.name.into(), member: region.member };
        controllers.push(issue(&format!("controller-{}", region.name), identity)?);
        let identity = Identity::Agent(decision::name::AgentId::new(region.name, 1));
        agents.push(issue(&format!("agent-{}", region.name), identity)?);
        fs::create_dir_all(&region.folder)?;
        let parent = region.postgres.parent().context("a data folder lies in a folder")?;
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        if with_disks {
            disks.insert(region.name, SmallDisk::mount(&region.disk_image(), parent)?);
        }
        open_to_postgres(parent)?;
    }
    fs::create_dir_all(layout.folder.join("logs"))?;
    write_password(&layout.password_file, &host)?;
    let operator = issue("operator", Identity::Operator { name: "live".into() })?;
    let context = layout.folder.join("context.json");
    let addresses: Vec<String> =
        layout.regions.iter().map(|region| region.at(GRPC_PORT).to_string()).collect();
    let text = serde_json::json!({
        "controllers": addresses, "cert": operator.certificate, "key": operator.key, "ca": operator.ca,
    });
    fs::write(&context, text.to_string())?;
    Ok(Prepared { disks, controllers, agents, context })
}

/// The data folder is made and renamed in its parent by PostgreSQL's user.
fn open_to_postgres(parent: &Path) -> anyhow::Result<()> {
    let user = User::from_name(OS_USER)?
        .with_context(|| format!("there is no user {OS_USER} on this machine: install postgresql"))?;
    chown(parent, Some(user.uid), Some(user.gid)).with_context(|| parent.display().to_string())
}

fn write_password(path: &Path, host: &Host) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    write!(file, "{:016x}{:016x}", host.random.next_u64(), host.random.next_u64())?;
    Ok(())
}
