use super::Round;
use crate::command::Command;
use crate::config::Config;
use crate::state::State;
use crate::verdict::Picture;

/// Writes down each verdict that changed, on regions and on services where they are hosted.
pub(super) fn conclude(round: &mut Round, config: &Config, state: &State) {
    let picture = Picture::new(config, state);
    for region in &config.regions {
        let assessment = picture.region(&region.name);
        if assessment.verdict != state.region_verdict(&region.name) {
            round.commands.push(Command::SetVerdict { region: region.name.clone(), service: None, assessment });
        }
    }
    for service in config.services.keys() {
        for region in config.hosts(service) {
            let assessment = picture.service(service, &region.name);
            if assessment.verdict != state.service_verdict(service, &region.name) {
                round.commands.push(Command::SetVerdict {
                    region: region.name.clone(),
                    service: Some(service.clone()),
                    assessment,
                });
            }
        }
    }
}
