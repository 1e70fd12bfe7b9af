//! Requests to servers elsewhere: push gateways, web pages for previews, other Matrix servers.
//!
//! Where they go is told by people who are not to be trusted, so nothing here reaches a private
//! address, unless the operator lists its network: a name is checked after it was resolved and
//! before the connection is opened, an address in a URL before each request, and both again at each
//! redirect. Requests have a time and a size that they may take.

mod address;
mod error;
mod resolver;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION},
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::redirect::Policy;
use url::{Host, Url};

use self::resolver::Resolver;
pub use self::{
    address::Allowed,
    error::{OutboundError, SetupError},
};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an open connection is kept for the next request.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// How many open connections are kept for one host.
const IDLE_PER_HOST: usize = 16;

/// What the client is told by the configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Private networks that may be reached all the same.
    pub allow_networks: Vec<IpNet>,
    /// Certificate authorities to trust beside those of the machine, as PEM.
    pub certificate_authorities: Option<Vec<u8>>,
    /// What the client calls itself.
    pub user_agent: String,
}

impl Settings {
    /// The same for addresses that the operator chose, which may be anywhere.
    #[must_use]
    pub fn trusting(self) -> Self {
        let everywhere = [
            IpNet::from(Ipv4Net::default()),
            IpNet::from(Ipv6Net::default()),
        ];
        Self {
            allow_networks: everywhere.to_vec(),
            ..self
        }
    }
}

/// The client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: reqwest::Client,
    allowed: Arc<Allowed>,
}

/// What a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The whole time, redirects and body included.
    pub timeout: Duration,
    /// The bytes of the body, unpacked.
    pub max_bytes: usize,
    /// How many redirects are followed. Those of requests with a body never are.
    pub max_redirects: usize,
}

/// An answer, of whatever status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// Where the answer came from in the end.
    pub url: Url,
    /// The body.
    pub body: Bytes,
}

impl Outbound {
    /// A client; there is one in each process.
    ///
    /// # Errors
    /// The certificate authorities cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        let allowed = Arc::new(Allowed::new(settings.allow_networks.clone()));
        let mut client = reqwest::Client::builder()
            .dns_resolver(Arc::new(Resolver::new(Arc::clone(&allowed))))
            // Each hop is checked here first.
            .redirect(Policy::none())
            // A proxy would resolve names by itself.
            .no_proxy()
            .referer(false)
            .user_agent(settings.user_agent.as_str())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST);
        if let Some(pem) = &settings.certificate_authorities {
            for certificate in reqwest::Certificate::from_pem_bundle(pem)? {
                client = client.add_root_certificate(certificate);
            }
        }
        Ok(Self {
            client: client.build()?,
            allowed,
        })
    }

    /// Whether a URL may be asked for, as far as can be told without resolving its name: it is
    /// HTTP, and does not name a private address.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, url: &Url) -> Result<(), OutboundError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OutboundError::Scheme);
        }
        let is_allowed = match url.host() {
            Some(Host::Ipv4(address)) => self.allowed.allows(address.into()),
            Some(Host::Ipv6(address)) => self.allowed.allows(address.into()),
            Some(Host::Domain(_)) => true,
            None => return Err(OutboundError::Scheme),
        };
        if is_allowed {
            Ok(())
        } else {
            Err(OutboundError::Refused)
        }
    }

    /// Asks for a page.
    ///
    /// # Errors
    /// The request could not be made, or took more than it may. A status that tells of an error is
    /// no error.
    pub async fn get(
        &self,
        url: &Url,
        headers: HeaderMap,
        bounds: Bounds,
    ) -> Result<Answer, OutboundError> {
        self.send(Method::GET, url, headers, None, bounds).await
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post_json(
        &self,
        url: &Url,
        json: String,
        bounds: Bounds,
    ) -> Result<Answer, OutboundError> {
        let json_type = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json_type)]);
        self.send(Method::POST, url, headers, Some(json.into()), bounds)
            .await
    }

    /// Makes a request of any method.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Bytes>,
        bounds: Bounds,
    ) -> Result<Answer, OutboundError> {
        let hops = self.hops(method, url, headers, body, bounds);
        tokio::time::timeout(bounds.timeout, hops)
            .await
            .map_err(|_| OutboundError::Timeout)?
    }

    /// Follows redirects to an answer.
    async fn hops(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        body: Option<Bytes>,
        bounds: Bounds,
    ) -> Result<Answer, OutboundError> {
        let mut url = url.clone();
        let mut left = if body.is_none() {
            bounds.max_redirects
        } else {
            0
        };
        loop {
            self.check(&url)?;
            let mut request = self
                .client
                .request(method.clone(), url.clone())
                .headers(headers.clone());
            if let Some(body) = &body {
                request = request.body(body.clone());
            }
            let response = request.send().await.map_err(OutboundError::from_request)?;
            let Some(next) = redirect(&response, &url)? else {
                return read(response, url, bounds.max_bytes).await;
            };
            if body.is_some() || bounds.max_redirects == 0 {
                return read(response, url, bounds.max_bytes).await;
            }
            left = left.checked_sub(1).ok_or(OutboundError::Redirects)?;
            if next.origin() != url.origin() {
                headers.remove(AUTHORIZATION);
                headers.remove(COOKIE);
            }
            url = next;
        }
    }
}

/// Where a response sends to, if it does.
fn redirect(response: &reqwest::Response, from: &Url) -> Result<Option<Url>, OutboundError> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = response.headers().get(LOCATION).filter(|_| is_redirect) else {
        return Ok(None);
    };
    let location = location.to_str().map_err(|_| OutboundError::Redirects)?;
    let next = from.join(location).map_err(|_| OutboundError::Redirects)?;
    if from.scheme() == "https" && next.scheme() != "https" {
        return Err(OutboundError::Redirects);
    }
    Ok(Some(next))
}

/// Reads a body, and gives up when it is too long.
async fn read(
    mut response: reqwest::Response,
    url: Url,
    max_bytes: usize,
) -> Result<Answer, OutboundError> {
    let announced = response.content_length().unwrap_or(0);
    if announced > u64::try_from(max_bytes).unwrap_or(u64::MAX) {
        return Err(OutboundError::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(OutboundError::from_request)?
    {
        if body.len() + chunk.len() > max_bytes {
            return Err(OutboundError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        url,
        body: body.into(),
    })
}
