//! A webhook as Slack has it: `POST {"text": …}`, and anything but 2xx is a failure.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use reqwest::{Client, Response, Url, header, redirect};

use super::{RetryAfter, SendError, quote};

/// How much of a refusal's body is read. It is looked at by a person, so its beginning is enough.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// How much of it an error quotes, in characters.
const BODY_CHARS_SHOWN: usize = 200;

/// What stands where a secret was.
const MASK: &str = "***";

/// The shortest part of a URL that counts as a secret on its own; shorter ones are words like `v1` or `services`.
const SECRET_BYTES_MIN: usize = 8;

/// How long one try may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the name's look-up to the end of the answer.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), total: Duration::from_secs(10) }
    }
}

/// One webhook.
pub struct SlackChannel {
    url: Url,
    /// The parts of the URL that must not be told, longest first.
    secrets: Vec<String>,
    client: Client,
}

impl fmt::Debug for SlackChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlackChannel").field("url", &MASK).finish_non_exhaustive()
    }
}

impl SlackChannel {
    /// A channel that posts to the URL, which is taken at its word: redirects are not followed, and no proxy is taken
    /// from the environment.
    ///
    /// # Errors
    /// When the text is no http or https URL, or TLS cannot be set up; the error does not hold the URL.
    pub fn new(url: &str, deadlines: Deadlines) -> Result<Self, SendError> {
        let degraded = |reason: &str| SendError::Degraded { reason: reason.to_owned() };
        let url =
            Url::parse(url.trim()).map_err(|error| degraded(&format!("its URL is not one: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(degraded("its URL is neither http nor https"));
        }
        let builder = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(deadlines.connect)
            .timeout(deadlines.total)
            .user_agent(concat!("jobd/", env!("CARGO_PKG_VERSION")));
        // The host's certificates are asked for only where TLS is spoken: a bare host has none installed.
        let builder = if url.scheme() == "https" { builder } else { builder.tls_certs_only([]) };
        let client = builder.build().map_err(|error| {
            let cause = innermost(error);
            degraded(&format!("its HTTP client cannot be made: {cause}; Debian has them in ca-certificates"))
        })?;
        Ok(Self { secrets: secrets(&url), url, client })
    }

    /// Sends one message.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, text: &str) -> Result<(), SendError> {
        let body = serde_json::json!({ "text": text });
        let answer = self.client.post(self.url.clone()).json(&body).send().await;
        match answer {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(self.refusal(response).await),
            Err(error) if error.is_timeout() => Err(SendError::TimedOut),
            Err(error) => Err(SendError::Unreachable { cause: self.masked(&innermost(error)) }),
        }
    }

    async fn refusal(&self, response: Response) -> SendError {
        SendError::Refused {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
            body: self.masked(&beginning(response).await),
        }
    }

    /// The text as one short, inert line without the URL or any of its telling parts: an error page likes to quote
    /// the path that it was asked for.
    fn masked(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for secret in &self.secrets {
            masked = masked.replace(secret, MASK);
        }
        quote::line(&masked, BODY_CHARS_SHOWN)
    }
}

/// The parts of a URL that give access: all of it, its path, each long part of the path and the query, the password.
fn secrets(url: &Url) -> Vec<String> {
    let mut parts = vec![url.as_str().to_owned(), url.path().to_owned()];
    parts.extend(url.path().split('/').map(str::to_owned));
    parts.extend(url.query().map(str::to_owned));
    parts.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    parts.extend(url.password().map(str::to_owned));
    parts.retain(|part| part.len() >= SECRET_BYTES_MIN && part != "services");
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts
}

/// The words of an error's innermost cause, without the URL that reqwest attaches.
fn innermost(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}

/// The first bytes of a body as text, as far as they come.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < BODY_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = BODY_BYTES_MAX - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            // The status says enough where the body breaks off.
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads `Retry-After`: seconds, or a date.
fn retry_after(headers: &header::HeaderMap) -> Option<RetryAfter> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(RetryAfter::Delay(Duration::from_secs(seconds)));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(RetryAfter::At(date.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str =
        "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX?key=hunter2hunter2";

    fn headers(value: &'static str) -> header::HeaderMap {
        header::HeaderMap::from_iter([(header::RETRY_AFTER, header::HeaderValue::from_static(value))])
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(&headers("30")), Some(RetryAfter::Delay(Duration::from_secs(30))));
        let date = "2015-10-21T07:28:00Z".parse().unwrap();
        assert_eq!(retry_after(&headers("Wed, 21 Oct 2015 07:28:00 GMT")), Some(RetryAfter::At(date)));
        assert_eq!(retry_after(&headers("soon")), None);
        assert_eq!(retry_after(&headers("-1")), None);
    }

    #[test]
    fn no_part_of_the_url_is_told() {
        let channel = SlackChannel::new(URL, Deadlines::default()).unwrap();
        let echoed =
            channel.masked(&format!("{URL} B00000000 <p>/XXXXXXXXXXXXXXXXXXXXXXXX</p> hunter2hunter2"));
        let shown = format!("{echoed} {channel:?}");
        for secret in ["T00000000", "B00000000", "XXXXXXXX", "hunter2"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(echoed.contains(MASK), "{echoed}");
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_telling_it() {
        for wrong in ["", "hunter2hunter2", "ftp://hunter2hunter2/", "http://"] {
            let error = SlackChannel::new(wrong, Deadlines::default()).unwrap_err().to_string();
            assert!(error.starts_with("the channel cannot be used: its URL is"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
