//! Health checks: one for each target, expanded from endpoints, services and defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use decision::config::check::Finding;
use decision::config::place::Place;
use decision::config::{Check, Config, Probe, Region, Timings};
use decision::name::{CheckId, DnsName, RegionName, ServiceName};

use super::{Origin, Origins, by_region, model, records};
use crate::config::address::{HostPort, url};
use crate::config::collection::OneOrMany;
use crate::config::model::CheckKind;
use crate::config::scalar::Scalar as _;

/// Ten times what one agent is built for.
const CHECKS_MAX: usize = 100_000;
const STATUS_DEFAULT: (u16, u16) = (200, 399);

#[derive(Clone)]
struct Timing {
    interval: Duration,
    timeout: Duration,
    healthy_threshold: u32,
    unhealthy_threshold: u32,
}

pub(super) struct Defaults {
    timing: Timing,
    path: Option<String>,
    expect_status: Vec<(u16, u16)>,
    expect_body: Option<String>,
}

impl Defaults {
    pub(super) fn new(written: model::HealthDefaults, timings: &Timings) -> Self {
        Self {
            timing: Timing {
                interval: written.interval.map_or(timings.probe_interval, |time| time.0),
                timeout: written.timeout.map_or(timings.probe_timeout, |time| time.0),
                healthy_threshold: written.healthy_threshold.unwrap_or(timings.healthy_threshold),
                unhealthy_threshold: written.unhealthy_threshold.unwrap_or(timings.unhealthy_threshold),
            },
            path: written.path,
            expect_status: written.expect_status.map_or_else(|| vec![STATUS_DEFAULT], statuses),
            expect_body: written.expect_body,
        }
    }
}

fn statuses(written: OneOrMany<super::super::scalar::StatusRange>) -> Vec<(u16, u16)> {
    written.0.into_iter().map(|range| (range.0, range.1)).collect()
}

/// One check for every endpoint of every region.
pub(super) fn endpoints(config: &mut Config, defaults: &Defaults, origins: &mut Origins) {
    for region in &config.regions {
        for (n, endpoint) in region.endpoints.iter().enumerate() {
            let probe = match endpoint.strip_prefix("tcp://") {
                Some(address) => Probe::Tcp { address: address.trim_end_matches('/').to_owned() },
                None => Probe::Http {
                    url: match &defaults.path {
                        Some(path) => append(endpoint, path),
                        None => endpoint.clone(),
                    },
                    expect_status: defaults.expect_status.clone(),
                    expect_body: defaults.expect_body.clone(),
                },
            };
            let id = CheckId::new(format!("{}/endpoint/{}", region.name, n + 1));
            let at = Place::of(&["regions", &region.label, "endpoints"]).index(n);
            origins.checks.insert(id.clone(), Origin { check: at.clone(), target: at });
            config.checks.push(check(id, &region.name, None, probe, &defaults.timing));
        }
    }
}

fn check(
    id: CheckId,
    region: &RegionName,
    service: Option<&ServiceName>,
    probe: Probe,
    timing: &Timing,
) -> Check {
    Check {
        id,
        region: region.clone(),
        service: service.cloned(),
        probe,
        interval: timing.interval,
        timeout: timing.timeout,
        healthy_threshold: timing.healthy_threshold,
        unhealthy_threshold: timing.unhealthy_threshold,
    }
}

/// The checks of one service, in every region that hosts it or is named as a target.
pub(super) fn service(
    config: &mut Config,
    name: &ServiceName,
    written: Vec<model::Check>,
    defaults: &Defaults,
    origins: &mut Origins,
    findings: &mut Vec<Finding>,
) {
    let mut counts: BTreeMap<(RegionName, &'static str), usize> = BTreeMap::new();
    for (n, check_written) in written.into_iter().enumerate() {
        let at = Place::of(&["services", name.as_str(), "health_checks"]).index(n);
        let kind = check_written.kind.unwrap_or_default();
        foreign_keys(&check_written, kind, &at, findings);
        let timing = Timing {
            interval: check_written.interval.map_or(defaults.timing.interval, |time| time.0),
            timeout: check_written.timeout.map_or(defaults.timing.timeout, |time| time.0),
            healthy_threshold: check_written.healthy_threshold.unwrap_or(defaults.timing.healthy_threshold),
            unhealthy_threshold: check_written
                .unhealthy_threshold
                .unwrap_or(defaults.timing.unhealthy_threshold),
        };
        for (target, region, probe) in probes(config, name, check_written, kind, defaults, &at, findings) {
            let count = counts.entry((region.clone(), kind_name(kind))).or_insert(0);
            *count += 1;
            let id = CheckId::new(format!("{region}/{name}/{}/{count}", kind_name(kind)));
            origins.checks.insert(id.clone(), Origin { check: at.clone(), target });
            config.checks.push(check(id, &region, Some(name), probe, &timing));
        }
        if config.checks.len() > CHECKS_MAX {
            config.checks.truncate(CHECKS_MAX);
            let message = format!("the checks unfold to more than {CHECKS_MAX} targets");
            findings.push(Finding::error(at, message, "split the estate into several configurations"));
            return;
        }
    }
}

const fn kind_name(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Http => "http",
        CheckKind::Https => "https",
        CheckKind::Tcp => "tcp",
        CheckKind::Dns => "dns",
        CheckKind::Grpc => "grpc",
        CheckKind::Command => "command",
    }
}

/// Keys that this kind of check would silently ignore.
fn foreign_keys(check: &model::Check, kind: CheckKind, at: &Place, findings: &mut Vec<Finding>) {
    use CheckKind::{Command, Dns, Grpc, Http, Https, Tcp};
    let present: [(&str, bool, &[CheckKind]); 11] = [
        ("path", check.path.is_some(), &[Http, Https]),
        ("url", check.url.is_some(), &[Http, Https, Grpc]),
        ("address", check.address.is_some(), &[Tcp, Dns]),
        ("targets", check.targets.is_some(), &[Http, Https, Grpc, Tcp, Dns]),
        ("name", check.name.is_some(), &[Dns]),
        ("type", check.rtype.is_some(), &[Dns]),
        ("expect", check.expect.is_some(), &[Dns]),
        ("service", check.service.is_some(), &[Grpc]),
        ("command", check.command.is_some(), &[Command]),
        ("expect_status", check.expect_status.is_some(), &[Http, Https]),
        ("expect_body", check.expect_body.is_some(), &[Http, Https]),
    ];
    for (key, present, kinds) in present {
        if present && !kinds.contains(&kind) {
            let of = kinds.iter().map(|kind| kind_name(*kind)).collect::<Vec<_>>().join(", ");
            findings.push(
                Finding::error(
                    at.key(key),
                    format!("{key} means nothing to a check of kind {}", kind_name(kind)),
                    format!("remove it, or write `kind:` with one of: {of}"),
                )
                .related(at.key("kind")),
            );
        }
    }
    if check.targets.is_some() {
        for (key, present) in [
            ("path", check.path.is_some()),
            ("url", check.url.is_some()),
            ("address", check.address.is_some()),
        ] {
            if present {
                findings.push(
                    Finding::error(
                        at.key(key),
                        format!("{key} and targets exclude each other"),
                        "keep one of the two",
                    )
                    .related(at.key("targets")),
                );
            }
        }
    } else if check.path.is_some() && check.url.is_some() {
        findings.push(
            Finding::error(
                at.key("path"),
                "path and url exclude each other",
                "write the path into the url, or remove it",
            )
            .related(at.key("url")),
        );
    }
}

fn probes(
    config: &Config,
    name: &ServiceName,
    written: model::Check,
    kind: CheckKind,
    defaults: &Defaults,
    at: &Place,
    findings: &mut Vec<Finding>,
) -> Vec<(Place, RegionName, Probe)> {
    let hosts: Vec<&Region> = config.hosts(name).collect();
    let make = match maker(&written, kind, defaults, at, findings) {
        Some(make) => make,
        None => return Vec::new(),
    };
    if kind == CheckKind::Command {
        return hosts.iter().map(|region| (at.clone(), region.name.clone(), make(String::new()))).collect();
    }
    let targets = match (written.targets, written.url.or(written.address)) {
        (Some(targets), _) => {
            let resolved = by_region(&config.regions, targets, &at.key("targets"), findings);
            let missing: Vec<String> = hosts
                .iter()
                .filter(|region| !resolved.contains_key(&region.name))
                .map(|region| region.name.to_string())
                .collect();
            if !missing.is_empty() {
                findings.push(Finding::warning(
                    at.key("targets"),
                    format!("{name} is not checked in {}, which hosts it", missing.join(", ")),
                    format!("add `{}: TARGET`", missing[0]),
                ));
            }
            resolved
                .into_iter()
                .map(|(region, target)| (at.key("targets").key(&region), region, target))
                .collect()
        }
        (None, Some(template)) => {
            let key = if matches!(kind, CheckKind::Tcp | CheckKind::Dns) { "address" } else { "url" };
            from_template(&hosts, &template, &at.key(key), findings)
        }
        (None, None) => from_endpoints(&hosts, kind, written.path.as_deref(), at, findings),
    };
    targets
        .into_iter()
        .filter_map(|(place, region, target)| match sound(kind, &target) {
            Ok(()) => Some((place, region, make(target))),
            Err(fault) => {
                findings.push(Finding::error(place, fault.message, fault.fix));
                None
            }
        })
        .collect()
}

type Target = (Place, RegionName, String);

fn sound(kind: CheckKind, target: &str) -> Result<(), crate::config::scalar::Fault> {
    match kind {
        CheckKind::Http | CheckKind::Grpc => url(target, &["http", "https"]).map(drop),
        CheckKind::Https => url(target, &["https"]).map(drop),
        CheckKind::Tcp | CheckKind::Dns => HostPort::parse(target).map(drop),
        CheckKind::Command => Ok(()),
    }
}

/// `{region}` and `{host}` filled in. Without either every region would be judged by one target.
fn from_template(hosts: &[&Region], template: &str, at: &Place, findings: &mut Vec<Finding>) -> Vec<Target> {
    if hosts.len() > 1 && !template.contains("{region}") && !template.contains("{host}") {
        findings.push(Finding::error(
            at.clone(),
            format!("{} regions would all be judged by {template}", hosts.len()),
            "write {host} or {region} into it, or `targets:` with one for each region",
        ));
        return Vec::new();
    }
    let mut targets = Vec::new();
    for region in hosts {
        let host = region.endpoints.iter().find_map(|endpoint| host_of(endpoint));
        if template.contains("{host}") && host.is_none() {
            findings.push(
                Finding::error(
                    at.clone(),
                    format!("{{host}} cannot be filled in for {}, which has no endpoint", region.name),
                    "add an endpoint to it, or write `targets:`",
                )
                .related(Place::of(&["regions", &region.label])),
            );
            continue;
        }
        let target = template
            .replace("{region}", region.name.as_str())
            .replace("{host}", host.as_deref().unwrap_or_default());
        targets.push((at.clone(), region.name.clone(), target));
    }
    targets
}

pub(super) fn host_of(endpoint: &str) -> Option<String> {
    endpoint.parse::<http::Uri>().ok()?.host().map(str::to_owned)
}

fn from_endpoints(
    hosts: &[&Region],
    kind: CheckKind,
    path: Option<&str>,
    at: &Place,
    findings: &mut Vec<Finding>,
) -> Vec<Target> {
    let mut targets = Vec::new();
    for region in hosts {
        let before = targets.len();
        for endpoint in &region.endpoints {
            let target = match (kind, endpoint.split_once("://")) {
                (CheckKind::Http, Some(("http" | "https", _))) | (CheckKind::Https, Some(("https", _))) => {
                    path.map_or_else(|| endpoint.clone(), |path| append(endpoint, path))
                }
                (CheckKind::Grpc, Some(("http" | "https", _))) => endpoint.clone(),
                (CheckKind::Tcp, Some((scheme, rest))) => {
                    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
                    match (endpoint.parse::<http::Uri>().ok().and_then(|uri| uri.port_u16()), scheme) {
                        (Some(_), _) => authority.to_owned(),
                        (None, "https") => format!("{authority}:443"),
                        (None, _) => format!("{authority}:80"),
                    }
                }
                _ => continue,
            };
            targets.push((at.clone(), region.name.clone(), target));
        }
        if targets.len() == before {
            let wanted = match kind {
                CheckKind::Https => "an https endpoint in it, or `targets:`",
                CheckKind::Dns => "`address: \"{host}:53\"`, or `targets:`",
                _ => "an endpoint to it that this kind can use, or write `targets:`",
            };
            findings.push(
                Finding::error(
                    at.clone(),
                    format!("a check of kind {} has nothing to ask in {}", kind_name(kind), region.name),
                    format!("add {wanted}"),
                )
                .related(Place::of(&["regions", &region.label, "endpoints"])),
            );
        }
    }
    targets
}

/// A base address and a path, with one slash between.
fn append(base: &str, path: &str) -> String {
    format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/'))
}

/// What turns a target into a probe of this kind.
fn maker(
    written: &model::Check,
    kind: CheckKind,
    defaults: &Defaults,
    at: &Place,
    findings: &mut Vec<Finding>,
) -> Option<Box<dyn Fn(String) -> Probe>> {
    match kind {
        CheckKind::Http | CheckKind::Https => {
            let ranges = written.expect_status.as_ref();
            let expect_status = ranges.map_or_else(
                || defaults.expect_status.clone(),
                |many| many.0.iter().map(|range| (range.0, range.1)).collect::<Vec<_>>(),
            );
            let expect_body = written.expect_body.clone().or_else(|| defaults.expect_body.clone());
            Some(Box::new(move |url| Probe::Http {
                url,
                expect_status: expect_status.clone(),
                expect_body: expect_body.clone(),
            }))
        }
        CheckKind::Tcp => Some(Box::new(|address| Probe::Tcp { address })),
        CheckKind::Dns => {
            let Some(asked) = &written.name else {
                findings.push(Finding::error(
                    at.clone(),
                    "a check of kind dns does not say which name to ask for",
                    "add `name: app.example.com`",
                ));
                return None;
            };
            let (name, rtype) = (DnsName::new(asked.0.as_str()), records::rtype(written.rtype));
            let expect = written.expect.as_ref().map(|many| many.0.clone()).unwrap_or_default();
            Some(Box::new(move |server| Probe::Dns {
                server,
                name: name.clone(),
                rtype,
                expect: expect.clone(),
            }))
        }
        CheckKind::Grpc => {
            let service = written.service.clone().unwrap_or_default();
            Some(Box::new(move |url| Probe::Grpc { url, service: service.clone() }))
        }
        CheckKind::Command => {
            let Some(argv) = written.command.clone() else {
                findings.push(Finding::error(
                    at.clone(),
                    "a check of kind command does not say what to run",
                    "add `command: [/usr/local/bin/check, --quick]`",
                ));
                return None;
            };
            Some(Box::new(move |_| Probe::Command { argv: argv.clone() }))
        }
    }
}
