//! The bridge between ruma's endpoint types and axum.
//!
//! A handler takes one service and one typed request, and returns the endpoint's typed response.
//! Its path, method and authentication come from ruma's metadata, so they are written nowhere else.
//!
//! A request runs through here as: path arguments, credentials, rate limit, body, ruma's parsing,
//! handler, ruma's serialization. What does not depend on the endpoint's type stands in functions
//! without type parameters, since all else is compiled once for each endpoint.

use std::{
    future::Future,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, FromRequestParts as _, RawPathParams, Request, State},
    handler::Handler,
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, on},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{
    HeaderMap, HeaderValue, Method, Uri,
    header::{AUTHORIZATION, IF_NONE_MATCH, USER_AGENT},
};
use ruma::api::{
    IncomingRequest, OutgoingResponse, OutgoingResponseExt as _,
    error::{DeserializationError, IntoHttpError},
    path_builder::PathBuilder as _,
};
use serde_json::error::Category;

use super::{
    AppState, auth::Authenticate, body, error::ApiError, html::asked_language, old_clients,
    peer::ClientAddress, rate_limit::Kind,
};
use crate::{language::Language, store::UserNid};

/// A parsed and authenticated request.
pub struct Ruma<R: IncomingRequest>
where
    R::Authentication: Authenticate,
{
    /// Who sent it: its type follows the endpoint's authentication scheme.
    pub sender: <R::Authentication as Authenticate>::Sender,
    /// The endpoint's own request type.
    pub body: R,
    /// What is known of the program that sent it.
    pub client: ClientInfo,
}

/// What is known of the program that sent a request.
#[derive(Clone)]
pub struct ClientInfo {
    /// Its address, also behind trusted proxies.
    pub address: IpAddr,
    user_agent: Option<HeaderValue>,
    language: Option<Language>,
    authorization: Option<HeaderValue>,
    uri: Uri,
    if_none_match: Option<HeaderValue>,
}

impl ClientInfo {
    /// What it has already, as headers of a conditional request.
    pub fn conditions(&self) -> HeaderMap {
        let known = self.if_none_match.clone();
        known
            .map(|known| (IF_NONE_MATCH, known))
            .into_iter()
            .collect()
    }

    /// The access token that came along, for endpoints that take none and answer those who have
    /// one otherwise.
    pub fn access_token(&self) -> Option<&str> {
        let token = self
            .authorization
            .as_ref()?
            .to_str()
            .ok()?
            .strip_prefix("Bearer ")?;
        (!token.is_empty()).then_some(token)
    }

    /// The query of the request.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// What it calls itself.
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_ref()?.to_str().ok()
    }

    /// The language that it asks for, if it is one of ours.
    pub fn language(&self) -> Option<Language> {
        self.language
    }
}

/// Adds Matrix endpoints to a router.
pub trait RouterExt: Sized {
    /// Routes every path of `R` to `handler`.
    #[must_use]
    fn endpoint<S, R, F>(self, handler: fn(State<S>, Ruma<R>) -> F) -> Self
    where
        S: FromRef<AppState> + Send + 'static,
        R: IncomingRequest + Send + 'static,
        R::Authentication: Authenticate,
        R::OutgoingResponse: Send,
        F: Future<Output = Result<R::OutgoingResponse, ApiError>> + Send + 'static,
    {
        self.endpoint_also(&[], handler)
    }

    /// The same, and routes `paths` there too: paths that ruma parses and does not list, such as
    /// the one of a state event with an empty state key.
    #[must_use]
    fn endpoint_also<S, R, F>(
        self,
        paths: &[&'static str],
        handler: fn(State<S>, Ruma<R>) -> F,
    ) -> Self
    where
        S: FromRef<AppState> + Send + 'static,
        R: IncomingRequest + Send + 'static,
        R::Authentication: Authenticate,
        R::OutgoingResponse: Send,
        F: Future<Output = Result<R::OutgoingResponse, ApiError>> + Send + 'static;

    /// Routes every path of `R`, and `paths`, to a handler that writes its answer itself: for
    /// answers that are kept as bytes, or streamed.
    #[must_use]
    fn endpoint_raw<S, R, F>(
        self,
        paths: &[&'static str],
        handler: fn(State<S>, Ruma<R>) -> F,
    ) -> Self
    where
        S: FromRef<AppState> + Send + 'static,
        R: IncomingRequest + Send + 'static,
        R::Authentication: Authenticate,
        F: Future<Output = Result<Response, ApiError>> + Send + 'static;
}

impl RouterExt for Router<AppState> {
    fn endpoint_also<S, R, F>(
        self,
        paths: &[&'static str],
        handler: fn(State<S>, Ruma<R>) -> F,
    ) -> Self
    where
        S: FromRef<AppState> + Send + 'static,
        R: IncomingRequest + Send + 'static,
        R::Authentication: Authenticate,
        R::OutgoingResponse: Send,
        F: Future<Output = Result<R::OutgoingResponse, ApiError>> + Send + 'static,
    {
        let call = move |state: AppState, request: Request| -> BoxFuture<'static, Response> {
            Box::pin(async move {
                // On the heap, so that it takes no room while the handler waits.
                let request = match Box::pin(parse::<R>(&state, request)).await {
                    Ok(request) => request,
                    Err(error) => return error.into_response(),
                };
                let state = state_for(&state, R::Authentication::is_limited(&request.sender));
                match handler(State(S::from_ref(&state)), request).await {
                    Ok(response) => serialize(response),
                    Err(error) => error.into_response(),
                }
            })
        };
        mount::<R>(self, paths, &Endpoint(Arc::new(call)))
    }

    fn endpoint_raw<S, R, F>(
        self,
        paths: &[&'static str],
        handler: fn(State<S>, Ruma<R>) -> F,
    ) -> Self
    where
        S: FromRef<AppState> + Send + 'static,
        R: IncomingRequest + Send + 'static,
        R::Authentication: Authenticate,
        F: Future<Output = Result<Response, ApiError>> + Send + 'static,
    {
        let call = move |state: AppState, request: Request| -> BoxFuture<'static, Response> {
            Box::pin(async move {
                // On the heap, so that it takes no room while the handler waits.
                let request = match Box::pin(parse::<R>(&state, request)).await {
                    Ok(request) => request,
                    Err(error) => return error.into_response(),
                };
                let state = state_for(&state, R::Authentication::is_limited(&request.sender));
                let answer = handler(State(S::from_ref(&state)), request).await;
                answer.unwrap_or_else(ApiError::into_response)
            })
        };
        mount::<R>(self, paths, &Endpoint(Arc::new(call)))
    }
}

/// A handler with its types forgotten, so that axum's own code is compiled once for all endpoints.
#[derive(Clone)]
struct Endpoint(Arc<dyn Fn(AppState, Request) -> BoxFuture<'static, Response> + Send + Sync>);

impl Handler<(), AppState> for Endpoint {
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, state: AppState) -> Self::Future {
        (self.0)(state, request)
    }
}

/// The last module of ruma's type that is no version: `whoami` of `…::account::whoami::v3::Request`.
fn name(request: &'static str) -> &'static str {
    let modules = request.rsplit("::").skip(1);
    let is_version = |module: &str| {
        let rest = module.trim_start_matches("unstable_").strip_prefix('v');
        module == "unstable"
            || rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    modules
        .into_iter()
        .find(|module| !is_version(module))
        .unwrap_or(request)
}

fn mount<R: IncomingRequest>(
    router: Router<AppState>,
    more: &[&'static str],
    endpoint: &Endpoint,
) -> Router<AppState> {
    let listed = R::PATH_BUILDER;
    let mut paths = listed.all_paths().chain(more.iter().copied());
    mount_at(router, &R::METHOD, &mut paths, endpoint)
}

fn mount_at(
    router: Router<AppState>,
    method: &Method,
    paths: &mut dyn Iterator<Item = &'static str>,
    endpoint: &Endpoint,
) -> Router<AppState> {
    let Ok(method) = MethodFilter::try_from(method.clone()) else {
        unreachable!("Matrix uses standard methods only")
    };
    paths.fold(router, |router, path| {
        router.route(path, on(method, endpoint.clone()))
    })
}

async fn parse<R>(state: &AppState, request: Request) -> Result<Ruma<R>, ApiError>
where
    R: IncomingRequest,
    R::Authentication: Authenticate,
{
    let Opened {
        head,
        body,
        path,
        client,
    } = open(state, request).await?;
    let name = name(std::any::type_name::<R>());
    tracing::Span::current().record("endpoint", name);
    let sender = match admit::<R>(state, &head, &client).await {
        Ok(sender) => sender,
        Err(error) => {
            body::drain(body, state.settings.body_timeout).await;
            return Err(error);
        }
    };
    let bytes = read(state, body).await?;
    let bytes = old_clients::complete(name, bytes);
    let path: Vec<&str> = path.iter().map(|(_, value)| value).collect();
    let request = head.map(|()| bytes.as_ref());
    let body = convert(request, &path)?;
    Ok(Ruma {
        sender,
        body,
        client,
    })
}

/// Who sends this, if they may send anything now.
async fn admit<R>(
    state: &AppState,
    head: &http::Request<()>,
    client: &ClientInfo,
) -> Result<<R::Authentication as Authenticate>::Sender, ApiError>
where
    R: IncomingRequest,
    R::Authentication: Authenticate,
{
    let sender = R::Authentication::authenticate(head, state).await?;
    if R::RATE_LIMITED && R::Authentication::is_limited(&sender) {
        limit(state, R::Authentication::user(&sender), client)?;
    }
    Ok(sender)
}

/// Makes it one of ruma's types.
///
/// Some of ruma's parsers panic on JSON of another shape (`login::v3::LoginInfo` without `type`
/// does in 0.25): that is the client's mistake, like any other wrong shape.
pub(super) fn convert<R: IncomingRequest>(
    request: http::Request<&[u8]>,
    path: &[&str],
) -> Result<R, ApiError> {
    let body = *request.body();
    let convert = || R::try_from_http_request_inner(request, path);
    match catch_unwind(AssertUnwindSafe(convert)) {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => Err(refuse_body(body).unwrap_or_else(|| refuse(&error))),
        Err(_) => Err(ApiError::bad_json("Bad JSON: something is missing")),
    }
}

/// A request whose body was not read yet.
struct Opened {
    head: http::Request<()>,
    body: Body,
    path: RawPathParams,
    client: ClientInfo,
}

async fn open(state: &AppState, request: Request) -> Result<Opened, ApiError> {
    let (mut parts, body) = request.into_parts();
    let Ok(path) = RawPathParams::from_request_parts(&mut parts, &()).await else {
        body::drain(body, state.settings.body_timeout).await;
        return Err(ApiError::invalid_param("The path is not UTF-8"));
    };
    let client = ClientInfo {
        address: ClientAddress::of(&parts.extensions),
        user_agent: parts.headers.get(USER_AGENT).cloned(),
        language: asked_language(&parts.headers),
        authorization: parts.headers.get(AUTHORIZATION).cloned(),
        uri: parts.uri.clone(),
        if_none_match: parts.headers.get(IF_NONE_MATCH).cloned(),
    };
    Ok(Opened {
        head: http::Request::from_parts(parts, ()),
        body,
        path,
        client,
    })
}

/// What a handler works with: without limits for a sender who has none.
fn state_for(state: &AppState, is_limited: bool) -> AppState {
    if is_limited {
        state.clone()
    } else {
        state.without_limits()
    }
}

/// The limit of every endpoint that the specification calls rate-limited. Handlers ask for the
/// tighter ones of their own.
fn limit(state: &AppState, user: Option<UserNid>, client: &ClientInfo) -> Result<(), ApiError> {
    match user {
        Some(user) => state.limits.check_user(Kind::Read, user),
        None => state.limits.check_address(Kind::Read, client.address),
    }
}

async fn read(state: &AppState, body: Body) -> Result<Bytes, ApiError> {
    let settings = &state.settings;
    body::read_json(body, settings.max_body_bytes, settings.body_timeout).await
}

/// What is wrong with a body as a whole. ruma looks at the query first, and at the names of fields
/// before what follows them.
fn refuse_body(body: &[u8]) -> Option<ApiError> {
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        return Some(ApiError::not_json(format!("Not JSON: {error}")));
    }
    let is_object = body.trim_ascii_start().starts_with(b"{");
    (!is_object).then(|| ApiError::bad_json("Bad JSON: expected an object"))
}

/// Why ruma could not make a request of it.
fn refuse(error: &DeserializationError) -> ApiError {
    match error {
        DeserializationError::Json(json) => match json.classify() {
            Category::Syntax | Category::Eof | Category::Io => {
                ApiError::not_json(format!("Not JSON: {error}"))
            }
            Category::Data => ApiError::bad_json(format!("Bad JSON: {error}")),
        },
        // Path arguments end here too: both come as serde's plain error.
        DeserializationError::Query(query) => {
            let text = query.to_string();
            if text.starts_with("missing field") {
                ApiError::missing_param(text)
            } else {
                ApiError::invalid_param(text)
            }
        }
        _ => ApiError::invalid_param(error.to_string()),
    }
}

fn serialize<T: OutgoingResponse>(response: T) -> Response {
    finish(response.try_into_http_response::<Vec<u8>>())
}

fn finish(response: Result<http::Response<Vec<u8>>, IntoHttpError>) -> Response {
    match response {
        Ok(response) => response.map(Body::from),
        Err(error) => ApiError::internal(&error).into_response(),
    }
}
