//! Joining, inviting, leaving, and what moderators do.
//!
//! Specification v1.19, client-server API, "Room membership".

use axum::{Router, extract::State};
use ruma::{
    RoomOrAliasId,
    api::client::{
        knock::knock_room,
        membership::{
            ThirdPartySigned, ban_user, forget_room,
            invite_user::{self, v3::InvitationRecipient},
            join_room_by_id, join_room_by_id_or_alias, kick_user, leave_room, unban_user,
        },
    },
};

use serde_json::{Map, Value};

use super::said::Said;
use crate::{
    accounts::Requester,
    event::build,
    http::{ApiError, AppState, Kind, RouterExt as _, Ruma},
    identity::Inviter,
    rooms::{Actor, Joining, Rooms, SignedInvite},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(join)
        .endpoint(join_by_id)
        .endpoint(knock)
        .endpoint(invite)
        .endpoint(leave)
        .endpoint(forget)
        .endpoint(kick)
        .endpoint(ban)
        .endpoint(unban)
}

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}`.
async fn join(
    State(state): State<AppState>,
    request: Ruma<Said<join_room_by_id_or_alias::v3::Request, Map<String, Value>>>,
) -> Result<join_room_by_id_or_alias::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let Said { body, said: fields } = request.body;
    state.bridges.prepare_room(&body.room_id_or_alias).await?;
    limit_join(&state, &actor, &body.room_id_or_alias).await?;
    let (reason, signed) = (body.reason.as_deref(), body.third_party_signed);
    let joining = joining(&request.sender, reason, signed, fields)?;
    let room_id = state
        .rooms
        .join(&actor, &body.room_id_or_alias, &joining)
        .await?;
    Ok(join_room_by_id_or_alias::v3::Response::new(room_id))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/join`.
async fn join_by_id(
    State(state): State<AppState>,
    request: Ruma<Said<join_room_by_id::v3::Request, Map<String, Value>>>,
) -> Result<join_room_by_id::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let Said { body, said: fields } = request.body;
    limit_join(&state, &actor, (&*body.room_id).into()).await?;
    let (reason, signed) = (body.reason.as_deref(), body.third_party_signed);
    let joining = joining(&request.sender, reason, signed, fields)?;
    let room_id = state
        .rooms
        .join(&actor, (&*body.room_id).into(), &joining)
        .await?;
    Ok(join_room_by_id::v3::Response::new(room_id))
}

/// What a body says of a join. What was signed is taken as it came.
fn joining<'a>(
    sender: &Requester,
    reason: Option<&'a str>,
    signed: Option<ThirdPartySigned>,
    fields: Map<String, Value>,
) -> Result<Joining<'a>, ApiError> {
    let invite = signed.map(|invite| {
        let signed = build::content_from(&fields.get("third_party_signed"));
        let signed = signed.map_err(|error| ApiError::bad_json(error.to_string()))?;
        Ok::<_, ApiError>(SignedInvite {
            sender: invite.sender,
            mxid: invite.mxid,
            token: invite.token,
            signed,
        })
    });
    let joining = Joining {
        reason,
        invite: invite.transpose()?,
        is_guest: sender.is_guest(),
        ..Joining::default()
    };
    Ok(joining.with_fields(fields)?)
}

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}`.
async fn knock(
    State(state): State<AppState>,
    request: Ruma<knock_room::v3::Request>,
) -> Result<knock_room::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Join, actor.user)?;
    let body = request.body;
    state.bridges.prepare_room(&body.room_id_or_alias).await?;
    let reason = body.reason.as_deref();
    let room_id = state
        .rooms
        .knock(&actor, &body.room_id_or_alias, reason)
        .await?;
    Ok(knock_room::v3::Response::new(room_id))
}

/// Joins are limited, and tighter so those of public rooms to which nobody invited the user: whoever
/// makes many of them reads what was not written for them (tchap.md, R-03).
async fn limit_join(state: &AppState, actor: &Actor, room: &RoomOrAliasId) -> Result<(), ApiError> {
    state.limits.check_user(Kind::Join, actor.user)?;
    if state.rooms.joins_unasked(actor, room).await? {
        state.limits.check_user(Kind::PublicJoin, actor.user)?;
    }
    Ok(())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/invite`, by user id or by e-mail address.
async fn invite(
    State(state): State<AppState>,
    request: Ruma<invite_user::v3::Request>,
) -> Result<invite_user::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let body = request.body;
    match body.recipient {
        InvitationRecipient::UserId(recipient) => {
            let reason = recipient.reason.as_deref();
            state.bridges.prepare_users(&[&*recipient.user_id]).await?;
            let rooms = &state.rooms;
            rooms
                .invite(&actor, &body.room_id, &recipient.user_id, reason)
                .await?;
        }
        InvitationRecipient::ThirdPartyId(threepid) => {
            state
                .limits
                .check_user(Kind::ThirdPartyInvite, actor.user)?;
            let inviter = Inviter::from(&*request.sender);
            let identifier = (threepid.medium.as_str(), threepid.address.as_str());
            state
                .identity
                .invite(&inviter, &body.room_id, &threepid.id_server, identifier)
                .await?;
        }
        _ => return Err(ApiError::bad_json("Nobody is named to be invited")),
    }
    Ok(invite_user::v3::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/leave`.
async fn leave(
    State(rooms): State<Rooms>,
    request: Ruma<leave_room::v3::Request>,
) -> Result<leave_room::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let reason = body.reason.as_deref();
    rooms.leave(&actor, &body.room_id, reason).await?;
    Ok(leave_room::v3::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/forget`.
async fn forget(
    State(rooms): State<Rooms>,
    request: Ruma<forget_room::v3::Request>,
) -> Result<forget_room::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    rooms.forget(&actor, &request.body.room_id).await?;
    Ok(forget_room::v3::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/kick`.
async fn kick(
    State(state): State<AppState>,
    request: Ruma<kick_user::v3::Request>,
) -> Result<kick_user::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let body = request.body;
    let reason = body.reason.as_deref();
    let rooms = &state.rooms;
    rooms
        .kick(&actor, &body.room_id, &body.user_id, reason)
        .await?;
    Ok(kick_user::v3::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/ban`.
async fn ban(
    State(state): State<AppState>,
    request: Ruma<ban_user::v3::Request>,
) -> Result<ban_user::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let body = request.body;
    let reason = body.reason.as_deref();
    let rooms = &state.rooms;
    rooms
        .ban(&actor, &body.room_id, &body.user_id, reason)
        .await?;
    Ok(ban_user::v3::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/unban`.
async fn unban(
    State(state): State<AppState>,
    request: Ruma<unban_user::v3::Request>,
) -> Result<unban_user::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let body = request.body;
    let reason = body.reason.as_deref();
    let rooms = &state.rooms;
    rooms
        .unban(&actor, &body.room_id, &body.user_id, reason)
        .await?;
    Ok(unban_user::v3::Response::new())
}
