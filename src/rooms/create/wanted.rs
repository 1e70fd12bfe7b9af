//! What the policy is told of a new room, and what it makes of it.

use ruma::{
    CanonicalJsonValue, OwnedUserId, UserId,
    api::client::room::{
        Visibility,
        create_room::v3::{Request, RoomPreset},
    },
};

use super::{Blueprint, Says, state};
use crate::{
    event::{build, version::VersionRules},
    policy::rooms::{self as policy, RoomRequest},
    rooms::{Actor, Error, Rooms},
};

impl Rooms {
    /// Asks the policy whether somebody may make the room of a request, and puts into its blueprint
    /// what it gets on the way. Gives the rule that decided.
    ///
    /// # Errors
    /// [`Error::Denied`] if they may not.
    pub(in crate::rooms) async fn ask_to_create(
        &self,
        actor: &Actor,
        request: &Request,
        says: Says,
        blueprint: &mut Blueprint,
    ) -> Result<&'static str, Error> {
        let initial_state = state::initial_state(request)?;
        let levels = request.power_level_content_override.as_ref();
        let levels = levels.map(|raw| build::content_from_json(raw.json()));
        let levels = levels.transpose()?;
        let rules = VersionRules::of(&blueprint.version);
        let creators = additional_creators(blueprint);
        let is_text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let room_type = blueprint.create.get("type");
        let wanted = RoomRequest {
            creator: &actor.user_id,
            preset: request.preset.as_ref().and_then(preset),
            visibility: (says == Says::Visibility).then_some(match request.visibility {
                Visibility::Public => policy::Visibility::Public,
                _ => policy::Visibility::Private,
            }),
            is_direct: request.is_direct,
            room_type: room_type.and_then(CanonicalJsonValue::as_str),
            has_text: is_text(&request.name) || is_text(&request.topic),
            invite: &blueprint.invite,
            invited_addresses: blueprint.addresses.len(),
            initial_state: &initial_state,
            power_levels: levels.as_ref(),
            creators: &creators,
            has_infinite_creators: rules
                .is_some_and(|rules| rules.authorization.explicitly_privilege_room_creators),
        };
        let policy = self.policy();
        let people = self.people(&policy, &wanted.users()).await?;
        let creation = policy.rooms().may_create(&wanted, &people)?;
        for draft in creation.state {
            blueprint.put(draft);
        }
        Ok(creation.rule)
    }
}

/// Who stands above all levels beside the creator.
fn additional_creators(blueprint: &Blueprint) -> Vec<OwnedUserId> {
    let creators = blueprint.create.get("additional_creators");
    let creators = creators.and_then(CanonicalJsonValue::as_array);
    let creators = creators.into_iter().flatten();
    creators
        .filter_map(|user_id| UserId::parse(user_id.as_str()?).ok())
        .collect()
}

fn preset(preset: &RoomPreset) -> Option<policy::Preset> {
    match preset {
        RoomPreset::PrivateChat => Some(policy::Preset::PrivateChat),
        RoomPreset::TrustedPrivateChat => Some(policy::Preset::TrustedPrivateChat),
        RoomPreset::PublicChat => Some(policy::Preset::PublicChat),
        _ => None,
    }
}
