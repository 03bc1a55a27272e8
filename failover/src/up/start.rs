//! Starts everything, waits until all of it serves, and shows it.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use decision::config::Config;
use decision::database::InstanceRole;
use decision::goal::may_probe;
use decision::verdict::Verdict;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use wire::api::{AgentStatus, InstanceStatus, Query, ServiceStatus, Status};
use wire::host::Host;

use super::certificates::Certificates;
use super::databases;
use super::layout::Layout;
use super::localise::localise;
use super::processes::{Process, end, forget, reap, running, save, spawn, write_whole};
use super::ready::{agent_name, controller_name, ready, service_name};
use super::{ProfileName, UpArgs};
use crate::cli::context::{self, Context};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::status::status_text;
use crate::cli::{Answer, Client, config};

const LOOK_EVERY: Duration = Duration::from_millis(50);
const SHOW_EVERY: Duration = Duration::from_millis(500);

pub async fn up(args: UpArgs, host: &Host) -> Outcome {
    let mut loaded = config::load_with(&args.config, args.profile.map(Into::into))?;
    let data_dir = prepare(&args.data_dir)?;
    let layout = Layout::new(&loaded.config, &data_dir, args.base_port)?;
    for change in localise(&mut loaded.config, &layout) {
        eprintln!("for this machine: {change}");
    }
    databases::prepare(&loaded.config, host)?;
    let certificates = Certificates::prepare(host, &data_dir, &layout)?;
    let context = write_context(&data_dir, &layout, &certificates)?;
    let mut processes = Vec::new();
    let started =
        run(&args, host, &loaded.config, &data_dir, &layout, &certificates, &context, &mut processes).await;
    if let Err(failure) = started {
        eprintln!("ending what was started");
        end(&processes).await;
        databases::end(&data_dir);
        forget(&data_dir);
        return Err(failure);
    }
    if args.detach {
        eprintln!("`failover down --data-dir {}` ends it", args.data_dir.display());
        return Ok(Exit::Done);
    }
    show(&Client::new(&context, host)?, &processes).await;
    end(&processes).await;
    databases::end(&data_dir);
    forget(&data_dir);
    eprintln!("\nended {} processes; state is kept in {}", processes.len(), data_dir.display());
    Ok(Exit::Done)
}

#[allow(clippy::too_many_arguments)]
async fn run(
    args: &UpArgs,
    host: &Host,
    wanted: &Config,
    data_dir: &Path,
    layout: &Layout,
    certificates: &Certificates,
    context: &Context,
    processes: &mut Vec<Process>,
) -> Result<(), Failure> {
    let interrupted = async {
        match signal(SignalKind::interrupt()) {
            Ok(mut interrupt) => {
                interrupt.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    let work = async {
        start(wanted, data_dir, layout, certificates, processes)?;
        let client = Client::new(context, host)?;
        let within = Duration::from_secs(args.timeout);
        let primary = wait_until_ready(&client, wanted, processes, data_dir, within).await?;
        let text = serde_json::to_string_pretty(&ready(wanted, layout, processes, primary))
            .map_err(|error| Failure::error(error.to_string()))?;
        if let Some(file) = &args.ready_file {
            write_whole(file, &text)?;
        }
        tell_where_to_look(wanted, layout, data_dir);
        Ok(())
    };
    tokio::select! {
        done = work => done,
        () = interrupted => Err(Failure::error("interrupted")),
    }
}

fn prepare(data_dir: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: std::io::Error| Failure::error(format!("{}: {error}", data_dir.display()));
    std::fs::create_dir_all(data_dir).map_err(failed)?;
    let data_dir = data_dir.canonicalize().map_err(failed)?;
    let earlier = running(&data_dir);
    if let Some(first) = earlier.first() {
        return Err(Failure::error(format!(
            "{} runs already ({}, pid {}, and {} more); `failover down --data-dir {}` ends it",
            data_dir.display(),
            first.name,
            first.pid,
            earlier.len() - 1,
            data_dir.display()
        )));
    }
    Ok(data_dir)
}

fn write_context(data_dir: &Path, layout: &Layout, certificates: &Certificates) -> Result<Context, Failure> {
    let files = certificates.operator();
    let context = Context {
        controllers: layout.controllers().map(|(_, controller)| controller.grpc.to_string()).collect(),
        cert: files.certificate,
        key: files.key,
        ca: files.ca,
    };
    let text = serde_json::to_string_pretty(&context).map_err(|error| Failure::error(error.to_string()))?;
    write_whole(&data_dir.join(context::FILE), &text)?;
    Ok(context)
}

fn start(
    config: &Config,
    data_dir: &Path,
    layout: &Layout,
    certificates: &Certificates,
    processes: &mut Vec<Process>,
) -> Result<(), Failure> {
    let own = std::env::current_exe().map_err(|error| Failure::error(error.to_string()))?;
    let beside = |name: &str| {
        let path = own.with_file_name(name);
        if path.exists() {
            return Ok(path);
        }
        Err(Failure::error(format!(
            "{} is not there: build the whole workspace, `cargo build`",
            path.display()
        )))
    };
    let (controller_program, agent_program) = (beside("control-plane")?, beside("region-agent")?);
    let log = |name: &str| data_dir.join("logs").join(format!("{}.log", name.replace(' ', "-")));
    let mut launch = |name: String, program: &Path, args: Vec<String>| -> Result<(), Failure> {
        processes.push(spawn(&name, program, &args, &log(&name))?);
        save(data_dir, processes)
    };
    for region in &layout.regions {
        if let Some(service) = region.service {
            let args = strings([
                "sample-service",
                "--listen",
                &service.to_string(),
                "--region",
                region.name.as_str(),
            ]);
            launch(service_name(region.name.as_str()), &own, args)?;
        }
    }
    let members: Vec<String> = layout
        .controllers()
        .map(|(region, controller)| {
            let witness = if region.witness { "=witness" } else { "" };
            format!("{}={}={}{witness}", controller.member, region.name, controller.grpc)
        })
        .collect();
    for (region, controller) in layout.controllers() {
        let files = certificates.controller(controller.member);
        let mut args = strings([
            "--data-dir",
            &controller.data_dir.display().to_string(),
            "--grpc-listen",
            &controller.grpc.to_string(),
            "--http-listen",
            &controller.http.to_string(),
            "--profile",
            ProfileName::of(config.strategy.profile),
            "--initial-member",
            &members.join(","),
        ]);
        args.extend(certificate_args(&files));
        launch(controller_name(region.name.as_str(), controller.member), &controller_program, args)?;
    }
    for region in &layout.regions {
        let own_first = region.controllers.iter().map(|controller| controller.grpc.to_string());
        let others = layout
            .controllers()
            .filter(|(other, _)| other.name != region.name)
            .map(|(_, controller)| controller.grpc.to_string());
        let controllers: Vec<String> = own_first.chain(others).collect();
        for agent in &region.agents {
            let mut args = strings([
                "--agent",
                &agent.id.to_string(),
                "--cluster",
                &certificates.cluster,
                "--controllers",
                &controllers.join(","),
                "--data-dir",
                &agent.data_dir.display().to_string(),
                "--dns-listen",
                &agent.dns.to_string(),
                "--peer-listen",
                &agent.peer.to_string(),
                // This machine is for more than Regent.
                "--watchdog",
                "off",
            ]);
            args.extend(certificate_args(&certificates.agent(&agent.id)));
            launch(agent_name(region.name.as_str(), agent.id.ordinal), &agent_program, args)?;
        }
    }
    eprintln!("started {} processes; logs are in {}", processes.len(), data_dir.join("logs").display());
    Ok(())
}

fn strings<const N: usize>(args: [&str; N]) -> Vec<String> {
    args.map(str::to_owned).to_vec()
}

fn certificate_args(files: &wire::tls::Files) -> Vec<String> {
    strings([
        "--cert",
        &files.certificate.display().to_string(),
        "--key",
        &files.key.display().to_string(),
        "--ca",
        &files.ca.display().to_string(),
    ])
}

/// Waits for each thing in turn, says which, and gives the first service's primary.
async fn wait_until_ready(
    client: &Client,
    wanted: &Config,
    processes: &[Process],
    data_dir: &Path,
    within: Duration,
) -> Result<Option<String>, Failure> {
    let deadline = Instant::now() + within;
    let mut told = String::new();
    let mut configured = false;
    loop {
        reap();
        if let Some(gone) = processes.iter().find(|process| !process.is_running()) {
            let log = data_dir.join("logs").join(format!("{}.log", gone.name.replace(' ', "-")));
            return Err(Failure::error(format!("{} ended by itself:\n{}", gone.name, last_lines(&log))));
        }
        let missing = match client.read::<Status>(&Query::Status).await {
            Err(_) => "a controller that answers".to_owned(),
            Ok(answer) if answer.stale => "a leader".to_owned(),
            Ok(_) if !configured => {
                configure(client, wanted).await?;
                configured = true;
                continue;
            }
            Ok(answer) => match missing(&answer.document, wanted).or_else(|| no_server(wanted)) {
                Some(missing) => missing,
                None => {
                    eprintln!("ready");
                    return Ok(answer.document.services.first().map(|service| service.primary.to_string()));
                }
            },
        };
        if missing != told {
            eprintln!("waiting for {missing}");
            told = missing;
        }
        if Instant::now() > deadline {
            return Err(Failure::new(
                Exit::TimedOut,
                format!("not ready within {within:?}: still waiting for {told}"),
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn configure(client: &Client, wanted: &Config) -> Result<(), Failure> {
    let held = config::held(client).await?;
    if held.config.as_ref() == Some(wanted) {
        return Ok(());
    }
    config::apply(client, held.generation, wanted.clone()).await
}

/// What is not up yet: from then on a lost region is judged at once, by vantages that have all looked.
/// A service that has moved meanwhile is as ready as one at home.
fn missing(status: &Status, wanted: &Config) -> Option<String> {
    for region in &wanted.regions {
        let Some(found) = status.regions.iter().find(|found| found.name == region.name) else {
            return Some(format!("region {}", region.name));
        };
        if let Some(away) = found.agents.iter().find(|agent| !agent.live) {
            return Some(format!("agent {}", away.agent));
        }
        if found.verdict != Verdict::Healthy {
            return Some(format!("a healthy {}", region.name));
        }
    }
    if let Some(database) = status.services.iter().find_map(unready) {
        return Some(database);
    }
    let sick = status.services.iter().find_map(|service| {
        let host = service.hosts.iter().find(|host| host.verdict != Verdict::Healthy)?;
        Some(format!("a healthy {} in {}", service.name, host.region))
    });
    let mut agents = status.regions.iter().flat_map(|region| &region.agents);
    sick.or_else(|| agents.find_map(|agent| unreported(agent, wanted)))
}

fn no_server(wanted: &Config) -> Option<String> {
    databases::missing(wanted).map(|region| format!("a server of the database in {region}"))
}

/// A writer, and everybody else following it.
fn unready(service: &ServiceStatus) -> Option<String> {
    let database = service.database.as_ref()?;
    let Some(writer) = &database.writer else {
        return Some(format!("a primary of the database of {}", service.name));
    };
    let is_well = |instance: &&InstanceStatus| match instance.role {
        Some(InstanceRole::Primary { epoch }) => instance.region == *writer && epoch == database.epoch,
        Some(InstanceRole::Replica { streaming }) => instance.region != *writer && streaming,
        _ => false,
    };
    let missing = database.instances.iter().find(|instance| !is_well(instance))?;
    Some(format!("the database of {} in {}", service.name, missing.region))
}

fn unreported(found: &AgentStatus, wanted: &Config) -> Option<String> {
    let checks = wanted.checks.iter().filter(|check| may_probe(&found.agent, check)).count();
    let missing = checks.saturating_sub(found.reported);
    (missing > 0).then(|| format!("what agent {} finds of {missing} targets", found.agent))
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn tell_where_to_look(config: &Config, layout: &Layout, data_dir: &Path) {
    let name =
        config.services.values().flat_map(|service| &service.dns).map(|record| record.name.as_str()).next();
    eprintln!();
    for region in &layout.regions {
        eprint!("{:<16}", region.name);
        if let Some(controller) = region.controllers.first() {
            eprint!("  status page http://{}/", controller.http);
        }
        if let (Some(agent), Some(name)) = (region.agents.first(), name) {
            eprint!("  dig @{} -p {} {name}", agent.dns.ip(), agent.dns.port());
        }
        eprintln!();
    }
    eprintln!("\nfailover --context {} status", data_dir.join(context::FILE).display());
}

/// The live view, until Ctrl-C or SIGTERM. Without a terminal it says nothing.
async fn show(client: &Client, processes: &[Process]) {
    let (Ok(mut interrupt), Ok(mut term)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    let live = std::io::stdout().is_terminal();
    loop {
        tokio::select! {
            _ = interrupt.recv() => return,
            _ = term.recv() => return,
            () = tokio::time::sleep(SHOW_EVERY) => {}
        }
        reap();
        if !live {
            continue;
        }
        let answer: Result<Answer<Status>, Failure> = tokio::select! {
            _ = interrupt.recv() => return,
            _ = term.recv() => return,
            answer = client.read(&Query::Status) => answer,
        };
        let mut text = match answer {
            Ok(answer) if answer.stale => {
                format!("STALE: no majority of controllers\n{}", status_text(&answer.document, false))
            }
            Ok(answer) => status_text(&answer.document, false),
            Err(failure) => format!("{failure}\n"),
        };
        let gone: Vec<&str> = processes
            .iter()
            .filter(|process| !process.is_running())
            .map(|process| process.name.as_str())
            .collect();
        if !gone.is_empty() {
            text += &format!("\nended: {}\n", gone.join(", "));
        }
        print!("\x1b[H\x1b[2J{text}\nCtrl-C ends it\n");
        let _ = std::io::stdout().flush();
    }
}
