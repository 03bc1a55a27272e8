//! From the configuration to what the actuator is told.

use std::path::{Path, PathBuf};

use decision::config::{Database, Mode, SecretSource};
use decision::name::RegionName;
use decision::plan::Epoch;
use failover::postgres::{Desired, Role, Secret, Settings, SyncStandbys, Upstream, User};

/// Beside the data folder, because the agent's own need not be open to PostgreSQL's user.
pub(super) fn socket_dir(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.file_name().unwrap_or_default().to_owned();
    name.push("-socket");
    data_dir.with_file_name(name)
}

/// # Errors
/// What a person has to put right.
pub(crate) async fn of_instance(wished: &Database, region: &RegionName) -> Result<Settings, String> {
    let instance = wished.instances.get(region).ok_or("no instance is configured here")?;
    let secret = password(wished.replication.password.as_ref(), "replication").await?;
    let data_dir = PathBuf::from(&instance.data_dir);
    let socket_dir = socket_dir(&data_dir);
    let mut settings = Settings::new(data_dir, socket_dir, region.as_str(), secret);
    settings.bin_dir = instance.bin_dir.as_ref().map(PathBuf::from);
    settings.port = instance.port;
    settings.listen_addresses.clone_from(&instance.listen);
    settings.os_user.clone_from(&instance.os_user);
    settings.superuser.clone_from(&wished.superuser);
    settings.replication_user.clone_from(&wished.replication.user);
    settings.parameters.clone_from(&wished.settings);
    settings.hba.clone_from(&wished.hba);
    settings.users = wished.users.iter().map(user).collect();
    Ok(settings)
}

pub(super) fn user(wished: &decision::config::User) -> User {
    User { name: wished.name.clone(), database: wished.database.clone() }
}

pub(super) async fn password(source: Option<&SecretSource>, whose: &str) -> Result<Secret, String> {
    let source = source
        .ok_or_else(|| format!("no password for {whose} is configured (password_file or password_env)"))?;
    let text = match source {
        SecretSource::File(path) => tokio::fs::read_to_string(path)
            .await
            .map_err(|error| format!("cannot read the password for {whose} from {path}: {error}"))?,
        SecretSource::Env(name) => std::env::var(name)
            .map_err(|_| format!("the password for {whose} is not in the agent's environment: {name}"))?,
    };
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

/// What the instance is to be: following `of`, nobody (`None`), or a primary; `alone`: its commits wait for
/// nobody, whatever the mode.
pub(super) fn desired(
    wished: &Database,
    region: &RegionName,
    epoch: Epoch,
    role: Role,
    alone: bool,
) -> Desired {
    let names: Vec<String> =
        wished.instances.keys().filter(|other| *other != region).map(|other| other.0.clone()).collect();
    let sync = match wished.mode {
        _ if alone => SyncStandbys::None,
        Mode::Async => SyncStandbys::None,
        Mode::Sync { acks } | Mode::SyncStrict { acks } => {
            SyncStandbys::Any { count: u32::from(acks), names }
        }
    };
    Desired { epoch, role, sync }
}

/// Without a slot: to ask it, not to follow it.
pub(crate) fn upstream(wished: &Database, of: &RegionName) -> Option<Upstream> {
    let primary = wished.instances.get(of)?;
    Some(Upstream { host: primary.host.clone(), port: primary.port, slot: None })
}
