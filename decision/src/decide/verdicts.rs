use crate::command::Command;
use crate::state::State;
use crate::verdict::Conclusions;

/// Writes down each verdict that changed, on regions and on services where they are hosted.
pub(super) fn changed(found: &Conclusions, state: &State) -> Vec<Command> {
    let regions = found
        .regions
        .iter()
        .filter(|(region, assessment)| assessment.verdict != state.region_verdict(region))
        .map(|(region, assessment)| (region, None, assessment));
    let services = found
        .services
        .iter()
        .flat_map(|(service, regions)| regions.iter().map(move |(region, found)| (region, service, found)))
        .filter(|(region, service, assessment)| assessment.verdict != state.service_verdict(service, region))
        .map(|(region, service, assessment)| (region, Some(service), assessment));
    regions
        .chain(services)
        .map(|(region, service, assessment)| Command::SetVerdict {
            region: region.clone(),
            service: service.cloned(),
            assessment: assessment.clone(),
        })
        .collect()
}
