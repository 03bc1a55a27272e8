//! The instances of databases on this machine: where they are, and how they end.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use data_encoding::HEXLOWER;
use decision::config::{Config, SecretSource};
use decision::name::RegionName;
use wire::host::Host;

use super::layout::Layout;
use crate::cli::exit::Failure;

const GUARD: &str = "regent-guard";

/// PostgreSQL's user must be able to enter it: below the data folder where everybody may pass
/// through to there, else apart.
pub fn folder(config: &Config, data_dir: &Path) -> PathBuf {
    let has_databases = config.services.values().any(|service| service.database.is_some());
    if !has_databases || !nix::unistd::geteuid().is_root() || is_passable(data_dir) {
        return data_dir.join("databases");
    }
    let name = data_dir.to_string_lossy().replace(['/', ' '], "-");
    Path::new("/var/tmp").join(format!("regent{name}"))
}

fn is_passable(folder: &Path) -> bool {
    let opens = |path: &Path| fs::metadata(path).is_ok_and(|found| found.mode() & 0o001 != 0);
    folder.ancestors().all(opens)
}

/// Instances become processes of this machine. Gives what was changed.
pub fn localise(config: &mut Config, layout: &Layout) -> Vec<String> {
    let mut changes = Vec::new();
    let with_database = config.services.iter_mut().filter(|(_, service)| service.database.is_some());
    for (n, (name, service)) in (0_u16..).zip(with_database) {
        let Some(database) = &mut service.database else { continue };
        for (region, instance) in &mut database.instances {
            let Some(here) = layout.instance(n, name, region) else { continue };
            instance.host = "127.0.0.1".into();
            instance.listen = vec!["127.0.0.1".into()];
            instance.port = here.port;
            instance.data_dir = here.data_dir.display().to_string();
            instance.write_endpoint = Some(here.write_endpoint.to_string());
            instance.read_endpoint = Some(here.read_endpoint.to_string());
        }
        let file = |what: &str| SecretSource::File(secret(layout, name.as_str(), what).display().to_string());
        database.replication.password = Some(file("replication"));
        for user in &mut database.users {
            user.password = Some(file(&user.name));
        }
        changes.push(format!("{name}: its database runs below {}", layout.databases.display()));
    }
    changes
}

fn secret(layout: &Layout, service: &str, what: &str) -> PathBuf {
    layout.secrets.join(format!("{service}-{what}"))
}

/// Makes what the instances need before they can be made.
pub fn prepare(config: &Config, host: &Host) -> Result<(), Failure> {
    let databases = config.services.values().filter_map(|service| service.database.as_ref());
    for database in databases {
        for instance in database.instances.values() {
            let parent = Path::new(&instance.data_dir).parent().map(Path::to_owned).unwrap_or_default();
            make_folder(&parent, 0o755)?;
            own(&parent, &instance.os_user)?;
        }
        let of_users = database.users.iter().map(|user| &user.password);
        for source in of_users.chain([&database.replication.password]).flatten() {
            if let SecretSource::File(path) = source {
                make_secret(Path::new(path), host)?;
            }
        }
    }
    Ok(())
}

fn make_folder(path: &Path, mode: u32) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|error| Failure::error(format!("{}: {error}", path.display())))
}

/// The data folder is made and renamed there by PostgreSQL's user.
fn own(path: &Path, os_user: &str) -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let found = nix::unistd::User::from_name(os_user).ok().flatten();
    let user = found.ok_or_else(|| {
        Failure::error(format!("there is no user {os_user:?} on this machine: install PostgreSQL first"))
    })?;
    let owned = nix::unistd::chown(path, Some(user.uid), Some(user.gid));
    owned.map_err(|error| Failure::error(format!("{}: {error}", path.display())))
}

/// Kept from an earlier run, so that instances that were made then still know it.
fn make_secret(path: &Path, host: &Host) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        make_folder(folder, 0o700)?;
    }
    let failed = |error: std::io::Error| Failure::error(format!("{}: {error}", path.display()));
    let words: Vec<u8> = (0..4).flat_map(|_| host.random.next_u64().to_le_bytes()).collect();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(HEXLOWER.encode(&words).as_bytes()).map_err(failed)
}

/// A region whose instance does not run here, whatever is still told of it from before.
pub fn missing(config: &Config) -> Option<&RegionName> {
    let database = config.services.values().find_map(|service| service.database.as_ref())?;
    database.instances.keys().find(|region| find(config, region).is_none())
}

/// The instance of the first database in a region, for scripts.
pub struct Found {
    pub pid: i32,
    pub port: u16,
    /// As the first of its users, who has a database.
    pub dsn: Option<String>,
}

pub fn find(config: &Config, region: &RegionName) -> Option<Found> {
    let database = config.services.values().find_map(|service| service.database.as_ref())?;
    let instance = database.instances.get(region)?;
    // postmaster.pid: the first line is the process.
    let text = fs::read_to_string(Path::new(&instance.data_dir).join("postmaster.pid")).ok()?;
    let pid = text.lines().next()?.trim().parse().ok()?;
    // A file may be left from a server that is gone.
    fs::exists(format!("/proc/{pid}")).ok().filter(|runs| *runs)?;
    let dsn = database.users.iter().find_map(|user| {
        let (name, SecretSource::File(path)) = (user.database.as_ref()?, user.password.as_ref()?) else {
            return None;
        };
        let password = fs::read_to_string(path).ok()?;
        let (user, password) = (&user.name, password.trim_end());
        Some(format!("postgresql://{user}:{password}@{}:{}/{name}", instance.host, instance.port))
    });
    Some(Found { pid, port: instance.port, dsn })
}

/// Ends every instance below the data folder in order, and its guard. After the agents, which would
/// start them again.
pub fn end(data_dir: &Path) {
    let Ok(own) = std::env::current_exe() else { return };
    let program = own.with_file_name(GUARD);
    let mut ends: Vec<(PathBuf, std::process::Child)> = Vec::new();
    for socket in sockets(data_dir) {
        let mut command = Command::new(&program);
        command.arg("end").arg("--socket").arg(&socket).stdin(Stdio::null()).stdout(Stdio::null());
        match command.spawn() {
            Ok(child) => ends.push((socket, child)),
            Err(error) => eprintln!("{}: {error}", program.display()),
        }
    }
    for (socket, mut child) in ends {
        match child.wait() {
            Ok(status) if status.success() => {}
            _ => eprintln!("the database guarded at {} may still run", socket.display()),
        }
    }
}

/// REGION/agent-N/databases/SERVICE/guard.sock
fn sockets(data_dir: &Path) -> Vec<PathBuf> {
    let below = |folder: PathBuf| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let agents = below(data_dir.to_owned()).into_iter().flat_map(below);
    let services = agents.flat_map(|agent| below(agent.join("databases")));
    services.map(|service| service.join("guard.sock")).filter(|socket| socket.exists()).collect()
}
