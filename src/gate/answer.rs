//! What is answered: an answer of ours or tiny_http's, and how it is written.

/// An answer of ours, or tiny_http's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Seconds.
    pub(crate) retry_after: Option<u32>,
    /// The methods that the path does take.
    pub(crate) allow: Option<&'static str>,
    /// JSON.
    pub(crate) body: Vec<u8>,
}

/// Seconds that whoever finds the gate busy is asked to wait.
const BUSY_SECONDS: u32 = 5;

impl Answer {
    pub(crate) fn error(status: u16, reason: &str) -> Self {
        let body = crate::wire::error_body(reason).into_bytes();
        Self { status, retry_after: None, allow: None, body }
    }

    /// The path is there, but not for this method.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::error(405, "not with this method") }
    }

    pub(super) fn busy(reason: &str) -> Self {
        Self { retry_after: Some(BUSY_SECONDS), ..Self::error(503, reason) }
    }

    /// As it goes over the wire; `bodiless` answers a HEAD.
    pub(super) fn encode(&self, keep_alive: bool, bodiless: bool) -> Vec<u8> {
        let mut text = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            self.status,
            phrase(self.status),
            self.body.len()
        );
        if let Some(seconds) = self.retry_after {
            text.push_str(&format!("Retry-After: {seconds}\r\n"));
        }
        if let Some(methods) = self.allow {
            text.push_str(&format!("Allow: {methods}\r\n"));
        }
        if self.status == 401 {
            text.push_str("WWW-Authenticate: Bearer\r\n");
        }
        let connection = if keep_alive { "keep-alive" } else { "close" };
        text.push_str(&format!("Connection: {connection}\r\n\r\n"));
        let mut bytes = text.into_bytes();
        if !bodiless {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}
