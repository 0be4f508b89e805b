//! The HTTP client: one POST of JSON, bounded in time and bytes.
//!
//! This file and `sys::http_tls` alone name ureq. One `Client` lives as long as its process, so
//! that connections and TLS sessions are used again. No redirects, no proxies from the environment,
//! no status that is an error by itself.

use std::io::Read;
use std::time::Duration;

use ureq::unversioned::resolver::DefaultResolver;

use super::verify::Refusal;
use super::{clock, http_tls, tls};
use crate::config::{Secret, Trust};
use crate::time::{format_span, retry_after};

/// Small, because an agent is to be small; larger bodies go through them in pieces.
const BUFFER_BYTES: usize = 16 * 1024;
const HEAD_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Clone)]
pub(crate) struct ClientSettings<'a> {
    pub(crate) trust: &'a Trust,
    /// Plain http needs no certificates.
    pub(crate) https: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) deadline: Deadline,
    pub(crate) answer_bytes_max: u64,
    /// Bodies that are larger wait for the server's `100 Continue`, if it sends one. Without, who
    /// is refused may find the connection closed in mid-body, and never read why.
    pub(crate) unasked_bytes_max: Option<usize>,
}

/// What has to be over in time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deadline {
    /// The whole call, name resolution too. ureq starts a thread for the name, each time.
    Call(Duration),
    /// Each of sending, waiting and reading. Names are resolved in the caller's thread under the
    /// system's own limits, which halves the CPU of an agent's idle poll.
    Phase(Duration),
}

pub(crate) struct Client {
    agent: ureq::Agent,
    timeout: Duration,
    answer_bytes_max: u64,
    unasked_bytes_max: Option<usize>,
}

/// Any HTTP answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct NoAnswer {
    /// In words.
    pub(crate) why: String,
    /// It did not come in time: the server may be at work on it.
    pub(crate) late: bool,
}

impl Client {
    /// Fails where the certificates to trust cannot be read.
    pub(crate) fn new(settings: &ClientSettings<'_>) -> Result<Self, String> {
        let tls = settings.https.then(|| tls::client_config(settings.trust)).transpose()?;
        let (call, phase) = match settings.deadline {
            Deadline::Call(limit) => (Some(limit), None),
            Deadline::Phase(limit) => (None, Some(limit)),
        };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("tasseograph/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_global(call)
            .timeout_send_request(phase)
            .timeout_send_body(phase)
            .timeout_recv_response(phase)
            .timeout_recv_body(phase)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .max_response_header_size(HEAD_BYTES_MAX)
            .build();
        Ok(Self {
            agent: ureq::Agent::with_parts(
                config,
                http_tls::connector(tls),
                DefaultResolver::default(),
            ),
            timeout: call.or(phase).unwrap_or_default(),
            answer_bytes_max: settings.answer_bytes_max,
            unasked_bytes_max: settings.unasked_bytes_max,
        })
    }

    pub(crate) fn post(
        &self,
        url: &str,
        bearer: Option<&Secret>,
        body: &[u8],
    ) -> Result<Answer, NoAnswer> {
        self.post_with(url, bearer, &[], body)
    }

    /// With further headers, whose names and values fit HTTP.
    pub(crate) fn post_with(
        &self,
        url: &str,
        bearer: Option<&Secret>,
        headers: &[(String, Secret)],
        body: &[u8],
    ) -> Result<Answer, NoAnswer> {
        let asks = self.unasked_bytes_max.is_some_and(|limit| body.len() > limit);
        let answer = self.post_once(url, bearer, headers, body, asks)?;
        // Something in between does not know the question.
        if answer.status == 417 && asks {
            return self.post_once(url, bearer, headers, body, false);
        }
        Ok(answer)
    }

    fn post_once(
        &self,
        url: &str,
        bearer: Option<&Secret>,
        headers: &[(String, Secret)],
        body: &[u8],
        asks: bool,
    ) -> Result<Answer, NoAnswer> {
        let mut request = self.agent.post(url).header("Content-Type", "application/json");
        if let Some(secret) = bearer {
            request = request.header("Authorization", format!("Bearer {}", secret.expose()));
        }
        for (name, value) in headers {
            request = request.header(name, value.expose());
        }
        if asks {
            request = request.header("Expect", "100-continue");
        }
        let mut response = request.send(body).map_err(|error| self.no_answer(error))?;
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok());
        let (millis, after) = (header("retry-after-ms"), header("retry-after"));
        let retry_after = retry_after(millis, after, clock::wall());
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let limited = response.body_mut().with_config().limit(self.answer_bytes_max);
        match limited.reader().read_to_end(&mut body) {
            // What is refused is, however its reasons end.
            Err(error) if (200..300).contains(&status) => Err(self.no_answer(error.into())),
            _ => Ok(Answer { status, retry_after, body }),
        }
    }

    fn no_answer(&self, error: ureq::Error) -> NoAnswer {
        use ureq::Timeout::{Connect, Resolve};
        let late = matches!(&error, ureq::Error::Timeout(of) if !matches!(of, Connect | Resolve));
        let why = match error {
            ureq::Error::Timeout(Connect) => "no connection in time".to_owned(),
            ureq::Error::Timeout(_) => format!("no answer within {}", format_span(self.timeout)),
            ureq::Error::HostNotFound => UNRESOLVED.to_owned(),
            ureq::Error::BodyExceedsLimit(limit) => {
                format!("the answer is larger than {limit} bytes")
            }
            ureq::Error::Io(error) => match inner_tls(&error) {
                Some(error) => tls_failure(error),
                None => io_failure(&error),
            },
            other => other.to_string(),
        };
        NoAnswer { why, late }
    }
}

const UNRESOLVED: &str = "the host name cannot be resolved";

/// std's words for a name that the resolver does not know are long, and not the field's.
fn io_failure(error: &std::io::Error) -> String {
    let cause = super::files::cause(error);
    match cause.strip_prefix("failed to lookup address information: ") {
        Some(why) => format!("{UNRESOLVED}: {}", why.to_lowercase()),
        None => cause,
    }
}

fn inner_tls(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// rustls's words for the usual mistakes are for its own developers.
fn tls_failure(error: &rustls::Error) -> String {
    use rustls::CertificateError as Cert;
    let rustls::Error::InvalidCertificate(why) = error else { return format!("TLS: {error}") };
    let hint = match why {
        Cert::UnknownIssuer => {
            "its issuer is not trusted; name the issuer's certificate with tls_ca_file"
        }
        Cert::Expired | Cert::ExpiredContext { .. } => "it has expired",
        Cert::NotValidYet | Cert::NotValidYetContext { .. } => "it is not valid yet",
        Cert::NotValidForName | Cert::NotValidForNameContext { .. } => {
            "it does not name this host; its subjectAltName must"
        }
        Cert::Other(other) => match other.0.downcast_ref::<Refusal>() {
            Some(refusal) => &refusal.to_string(),
            None => "it is a certificate authority's own (CA:TRUE); make one with CA:FALSE",
        },
        _ => {
            "it is not signed by the trusted certificate of that name; if it was made anew, copy \
             it to tls_ca_file"
        }
    };
    format!("the server's certificate is refused: {hint}")
}
