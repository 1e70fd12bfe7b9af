//! The mail server: SMTP (RFC 5321) over TLS, STARTTLS or clear text.
//!
//! A connection is kept for the next mail only after a whole mail went through it. One that was
//! left in the middle, because the time was up or the caller went away, is closed: the answer
//! that was under way would be taken for the answer to the next command.

use std::{
    error::Error as _,
    fs, io,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use lettre::{
    address::Envelope,
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Certificate, TlsParameters},
        extension::ClientId,
    },
};
use ruma::ServerName;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{
    error::{DeliveryError, SetupError, Unavailable},
    settings::{Encryption, MailSettings},
};

/// How many connections there may be at a time.
pub(super) const MAX_CONNECTIONS: usize = 4;

/// How long a connection is kept for the next mail. Servers wait at least five minutes
/// (RFC 5321, section 4.5.3.2.7), busy ones less.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// The answer that asks for authentication (RFC 4954): a fault of the settings, not of the mail.
const AUTHENTICATION_REQUIRED: u16 = 530;

/// A mail server.
pub(super) struct Smtp {
    host: String,
    port: u16,
    channel: Channel,
    hello: ClientId,
    credentials: Option<Credentials>,
    timeout: Duration,
    slots: Semaphore,
    parked: Mutex<Vec<Parked>>,
}

enum Channel {
    Tls(TlsParameters),
    StartTls(TlsParameters),
    Clear,
}

struct Parked {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl Smtp {
    pub(super) fn new(
        settings: &MailSettings,
        host: &str,
        server_name: &ServerName,
    ) -> Result<Self, SetupError> {
        let tls = || tls_parameters(host, settings.certificate_authorities.as_deref());
        let channel = match settings.encryption {
            Encryption::Tls => Channel::Tls(tls()?),
            Encryption::StartTls => Channel::StartTls(tls()?),
            Encryption::None => Channel::Clear,
        };
        let password = || {
            let password = settings.password.as_ref();
            password.map_or_else(String::new, |password| password.as_str().to_owned())
        };
        let credentials = settings
            .user
            .as_ref()
            .map(|user| Credentials::new(user.clone(), password()));
        Ok(Self {
            host: host.to_owned(),
            port: settings.port,
            channel,
            hello: ClientId::Domain(server_name.host().to_owned()),
            credentials,
            timeout: settings.timeout,
            slots: Semaphore::new(MAX_CONNECTIONS),
            parked: Mutex::default(),
        })
    }

    /// Hands a mail to the server, within the time of the settings.
    pub(super) async fn send(
        &self,
        envelope: &Envelope,
        message: &[u8],
    ) -> Result<(), DeliveryError> {
        timeout(self.timeout, self.deliver(envelope, message))
            .await
            .unwrap_or(Err(Unavailable::Timeout.into()))
    }

    async fn deliver(&self, envelope: &Envelope, message: &[u8]) -> Result<(), DeliveryError> {
        // Never closed, so that an error cannot be; without a permit the mail would go all the same.
        let _slot = self.slots.acquire().await.ok();
        let mut connection = match self.reuse().await {
            Some(connection) => connection,
            None => self.connect().await.map_err(before_mail)?,
        };
        connection.send(envelope, message).await.map_err(in_mail)?;
        self.park(connection);
        Ok(())
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let at_once = match &self.channel {
            Channel::Tls(parameters) => Some(parameters.clone()),
            Channel::StartTls(_) | Channel::Clear => None,
        };
        let mut connection = AsyncSmtpConnection::connect_tokio1(
            (self.host.as_str(), self.port),
            Some(self.timeout),
            &self.hello,
            at_once,
            None,
        )
        .await?;
        if let Channel::StartTls(parameters) = &self.channel {
            connection.starttls(parameters.clone(), &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, credentials).await?;
        }
        Ok(connection)
    }

    /// A connection that an earlier mail left, if one still works.
    async fn reuse(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let mut parked = self.parked().pop()?;
            if parked.since.elapsed() < MAX_IDLE && parked.connection.test_connected().await {
                return Some(parked.connection);
            }
        }
    }

    fn park(&self, connection: AsyncSmtpConnection) {
        let since = Instant::now();
        let mut parked = self.parked();
        parked.retain(|parked| parked.since.elapsed() < MAX_IDLE);
        if parked.len() < MAX_CONNECTIONS {
            parked.push(Parked { connection, since });
        }
    }

    fn parked(&self) -> std::sync::MutexGuard<'_, Vec<Parked>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tls_parameters(host: &str, authorities: Option<&Path>) -> Result<TlsParameters, SetupError> {
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(path) = authorities {
        let pem = fs::read(path).map_err(SetupError::CertificateAuthorities)?;
        if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return Err(SetupError::Tls(None));
        }
        let certificate =
            Certificate::from_pem(&pem).map_err(|error| SetupError::Tls(Some(error)))?;
        parameters = parameters.add_root_certificate(certificate);
    }
    parameters
        .build_rustls()
        .map_err(|error| SetupError::Tls(Some(error)))
}

/// How a certificate begins: a file without one would silently trust nothing more.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// A failure of the greeting, of TLS or of the authentication says nothing of the mail.
fn before_mail(error: Error) -> DeliveryError {
    let reason = match error.status() {
        Some(code) => Unavailable::TurnedAway { code: code.into() },
        None if error.is_client() => Unavailable::Unsupported,
        None => broken(error),
    };
    reason.into()
}

fn in_mail(error: Error) -> DeliveryError {
    let Some(code) = error.status().map(u16::from) else {
        return broken(error).into();
    };
    if code == AUTHENTICATION_REQUIRED {
        Unavailable::TurnedAway { code }.into()
    } else if error.is_permanent() {
        DeliveryError::Refused { code }
    } else {
        Unavailable::Temporary { code }.into()
    }
}

/// A failure without an answer of the server. Only errors that cannot quote it keep their cause.
fn broken(error: Error) -> Unavailable {
    if error.is_timeout() {
        Unavailable::Timeout
    } else if error.is_tls() || is_of_tls(&error) {
        Unavailable::Tls(error)
    } else if error.is_response() || error.is_client() {
        Unavailable::Answer
    } else {
        Unavailable::Connection(error)
    }
}

/// Whether the connection broke because TLS did: a certificate that is not trusted, for example.
/// The error is then one of input and output, of data that make no sense.
fn is_of_tls(error: &Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            return cause.kind() == io::ErrorKind::InvalidData;
        }
        source = cause.source();
    }
    false
}
