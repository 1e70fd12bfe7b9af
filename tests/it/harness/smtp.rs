//! A mail server that keeps what it gets, speaks TLS with an authority of its own, and fails
//! when it is told to.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail_parser::MessageParser;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader,
    },
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// How long a line or a mail may be, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A mail as it came.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedMail {
    /// The sender of the envelope.
    pub(crate) from: String,
    /// The recipients of the envelope.
    pub(crate) to: Vec<String>,
    /// The message, dots unstuffed.
    pub(crate) data: String,
}

impl ReceivedMail {
    /// The subject, decoded.
    pub(crate) fn subject(&self) -> String {
        let mail = MessageParser::default().parse(&self.data).unwrap();
        mail.subject().unwrap().to_owned()
    }

    /// The text part, decoded.
    pub(crate) fn text(&self) -> String {
        let mail = MessageParser::default().parse(&self.data).unwrap();
        mail.body_text(0).unwrap().into_owned()
    }

    /// The HTML part, decoded.
    pub(crate) fn html(&self) -> String {
        let mail = MessageParser::default().parse(&self.data).unwrap();
        mail.body_html(0).unwrap().into_owned()
    }

    /// The first web link of the text part.
    pub(crate) fn first_link(&self) -> String {
        let text = self.text();
        let mut words = text.split_whitespace();
        let link = words.find(|word| word.starts_with("http://") || word.starts_with("https://"));
        link.unwrap().to_owned()
    }
}

/// How the server protects its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ServerTls {
    /// Clear text, and no STARTTLS.
    #[default]
    None,
    /// STARTTLS is offered, and required before anything else.
    StartTls,
    /// TLS from the first byte.
    Implicit,
}

/// What the server does with a mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behavior {
    /// Takes it.
    #[default]
    Accept,
    /// Refuses the recipient for good (550), and repeats the address as real servers do.
    RejectRecipient,
    /// Refuses the recipient for now (451).
    FailForNow,
    /// Takes everything and never answers the last dot.
    Hang,
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub(crate) struct SmtpOptions {
    pub(crate) tls: ServerTls,
    /// User and password, where mails need authentication.
    pub(crate) login: Option<(&'static str, &'static str)>,
    /// The mechanisms that are offered.
    pub(crate) mechanisms: &'static str,
    /// The name or address in the certificate.
    pub(crate) certificate_name: &'static str,
    /// The port, or 0 for any.
    pub(crate) port: u16,
}

impl Default for SmtpOptions {
    fn default() -> Self {
        Self {
            tls: ServerTls::None,
            login: None,
            mechanisms: "PLAIN LOGIN",
            certificate_name: "127.0.0.1",
            port: 0,
        }
    }
}

/// A running server, on 127.0.0.1. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct SmtpServer {
    port: u16,
    authority_pem: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    options: SmtpOptions,
    behavior: Mutex<Behavior>,
    commands: Mutex<Vec<String>>,
    connections: watch::Sender<usize>,
    mails: watch::Sender<Vec<ReceivedMail>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl SmtpServer {
    pub(crate) async fn start(options: SmtpOptions) -> Self {
        let (acceptor, authority_pem) = certificate(options.certificate_name);
        let listener = TcpListener::bind(("127.0.0.1", options.port))
            .await
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            options,
            behavior: Mutex::default(),
            commands: Mutex::default(),
            connections: watch::channel(0).0,
            mails: watch::channel(Vec::new()).0,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Self {
            port,
            authority_pem,
            shared,
            _tasks: tasks,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Writes the authority that signed the server's certificate.
    pub(crate) fn write_authority(&self, path: &Path) {
        std::fs::write(path, &self.authority_pem).unwrap();
    }

    /// What the server does with mails from now on.
    pub(crate) fn set_behavior(&self, behavior: Behavior) {
        *self.shared.behavior.lock().unwrap() = behavior;
    }

    /// All mails so far.
    pub(crate) fn received(&self) -> Vec<ReceivedMail> {
        self.shared.mails.borrow().clone()
    }

    /// The first words of all commands so far, in capitals.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.shared.commands.lock().unwrap().clone()
    }

    /// How many connections there were so far.
    pub(crate) fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// The first mail to an address whose text has `words`, which may still be under way.
    pub(crate) async fn wait_for_words(&self, to: &str, words: &str) -> ReceivedMail {
        let is_wanted = |mail: &&ReceivedMail| {
            mail.to.iter().any(|known| known == to) && mail.text().contains(words)
        };
        let mut mails = self.shared.mails.subscribe();
        let arrived = mails.wait_for(|mails| mails.iter().any(|mail| is_wanted(&mail)));
        let arrived = tokio::time::timeout(Duration::from_secs(30), arrived)
            .await
            .unwrap()
            .unwrap();
        arrived.iter().find(is_wanted).unwrap().clone()
    }

    /// The first mail to an address, which may still be under way.
    pub(crate) async fn wait_for_mail(&self, to: &str, timeout: Duration) -> ReceivedMail {
        let is_wanted = |mail: &&ReceivedMail| mail.to.iter().any(|known| known == to);
        let mut mails = self.shared.mails.subscribe();
        let arrived = mails.wait_for(|mails| mails.iter().any(|mail| is_wanted(&mail)));
        let arrived = tokio::time::timeout(timeout, arrived)
            .await
            .unwrap()
            .unwrap();
        arrived.iter().find(is_wanted).unwrap().clone()
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut sessions = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.send_modify(|count| *count += 1);
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        // A client that goes away, or does not trust us, is part of the tests.
        sessions.spawn(async move { serve(stream, acceptor, &shared).await.ok() });
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: &Shared) -> io::Result<()> {
    let implicit = shared.options.tls == ServerTls::Implicit;
    let stream: Box<dyn Stream> = if implicit {
        Box::new(acceptor.accept(stream).await?)
    } else {
        Box::new(stream)
    };
    let mut session = Session {
        stream: BufReader::new(stream),
        shared,
        encrypted: implicit,
        authenticated: shared.options.login.is_none(),
        from: String::new(),
        to: Vec::new(),
    };
    session.reply("220 smtp.test ESMTP").await?;
    while session.step(&acceptor).await? {}
    Ok(())
}

struct Session<'a> {
    stream: BufReader<Box<dyn Stream>>,
    shared: &'a Shared,
    encrypted: bool,
    authenticated: bool,
    from: String,
    to: Vec<String>,
}

impl Session<'_> {
    /// Answers one command. False at the end.
    async fn step(&mut self, acceptor: &TlsAcceptor) -> io::Result<bool> {
        let Some(line) = self.line().await? else {
            return Ok(false);
        };
        let mut words = line.split_whitespace();
        let command = words.next().unwrap_or_default().to_uppercase();
        self.shared.commands.lock().unwrap().push(command.clone());
        let needs_tls = self.shared.options.tls == ServerTls::StartTls && !self.encrypted;
        match command.as_str() {
            "EHLO" | "HELO" => self.greet(needs_tls).await?,
            "NOOP" => self.reply("250 ok").await?,
            "QUIT" => {
                self.reply("221 bye").await?;
                return Ok(false);
            }
            "STARTTLS" if needs_tls => return self.start_tls(acceptor).await,
            _ if needs_tls => self.reply("530 5.7.0 STARTTLS first").await?,
            "AUTH" => self.authenticate(&line).await?,
            _ if !self.authenticated => self.reply("530 5.7.0 authenticate first").await?,
            "MAIL" => {
                self.from = address(&line);
                self.to.clear();
                self.reply("250 ok").await?;
            }
            "RCPT" => self.recipient(&line).await?,
            "DATA" => self.data().await?,
            _ => self.reply("502 5.5.1 unknown command").await?,
        }
        Ok(true)
    }

    async fn greet(&mut self, needs_tls: bool) -> io::Result<()> {
        let mut lines = vec!["smtp.test".to_owned(), "8BITMIME".to_owned()];
        if needs_tls {
            lines.push("STARTTLS".to_owned());
        } else if self.shared.options.login.is_some() {
            lines.push(format!("AUTH {}", self.shared.options.mechanisms));
        }
        let last = lines.pop().unwrap();
        for line in lines {
            self.reply(&format!("250-{line}")).await?;
        }
        self.reply(&format!("250 {last}")).await
    }

    async fn start_tls(&mut self, acceptor: &TlsAcceptor) -> io::Result<bool> {
        self.reply("220 go").await?;
        let (placeholder, _) = tokio::io::duplex(1);
        let placeholder: Box<dyn Stream> = Box::new(placeholder);
        let clear = std::mem::replace(&mut self.stream, BufReader::new(placeholder)).into_inner();
        self.stream = BufReader::new(Box::new(acceptor.accept(clear).await?));
        self.encrypted = true;
        Ok(true)
    }

    async fn authenticate(&mut self, line: &str) -> io::Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let given = match words.as_slice() {
            [_, "PLAIN", response] => {
                let decoded = decoded(response);
                let mut fields = decoded.split('\0').skip(1).map(str::to_owned);
                (
                    fields.next().unwrap_or_default(),
                    fields.next().unwrap_or_default(),
                )
            }
            [_, "LOGIN"] => {
                self.reply(&format!("334 {}", STANDARD.encode("Username:")))
                    .await?;
                let user = self.line().await?.unwrap_or_default();
                self.reply(&format!("334 {}", STANDARD.encode("Password:")))
                    .await?;
                let password = self.line().await?.unwrap_or_default();
                (decoded(&user), decoded(&password))
            }
            _ => return self.reply("504 5.5.4 unknown mechanism").await,
        };
        let expected = self.shared.options.login;
        self.authenticated =
            expected.is_some_and(|(user, password)| given.0 == user && given.1 == password);
        if self.authenticated {
            self.reply("235 2.7.0 welcome").await
        } else {
            self.reply("535 5.7.8 wrong user or password").await
        }
    }

    async fn recipient(&mut self, line: &str) -> io::Result<()> {
        let to = address(line);
        let behavior = *self.shared.behavior.lock().unwrap();
        match behavior {
            Behavior::RejectRecipient => {
                self.reply(&format!("550 5.1.1 <{to}>: no such user")).await
            }
            Behavior::FailForNow => {
                self.reply(&format!("451 4.3.0 <{to}>: try again later"))
                    .await
            }
            Behavior::Accept | Behavior::Hang => {
                self.to.push(to);
                self.reply("250 ok").await
            }
        }
    }

    async fn data(&mut self) -> io::Result<()> {
        self.reply("354 end with a dot").await?;
        let mut data = String::new();
        while let Some(line) = self.line().await? {
            if line == "." {
                break;
            }
            data.push_str(line.strip_prefix('.').unwrap_or(&line));
            data.push_str("\r\n");
        }
        if *self.shared.behavior.lock().unwrap() == Behavior::Hang {
            return std::future::pending().await;
        }
        let mail = ReceivedMail {
            from: self.from.clone(),
            to: std::mem::take(&mut self.to),
            data,
        };
        self.shared.mails.send_modify(|mails| mails.push(mail));
        self.reply("250 2.0.0 queued").await
    }

    /// A line without its end. `None` where the client went away.
    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let read = (&mut self.stream)
            .take(MAX_BYTES)
            .read_line(&mut line)
            .await?;
        let line = line.trim_end_matches(['\r', '\n']).to_owned();
        Ok((read > 0).then_some(line))
    }

    async fn reply(&mut self, line: &str) -> io::Result<()> {
        self.stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await?;
        self.stream.flush().await
    }
}

/// The address between angle brackets of `MAIL FROM:<…>` and `RCPT TO:<…>`.
fn address(line: &str) -> String {
    let inside = line
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(String::new, |(address, _)| address.to_owned())
}

fn decoded(text: &str) -> String {
    String::from_utf8(STANDARD.decode(text.trim()).unwrap_or_default()).unwrap_or_default()
}

/// A certificate for `name`, and the authority that signed it, in PEM.
fn certificate(name: &str) -> (TlsAcceptor, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (
        TlsAcceptor::from(Arc::new(config)),
        authority_certificate.pem(),
    )
}
