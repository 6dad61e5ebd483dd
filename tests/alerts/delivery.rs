//! Delivery against a server that does as it is told, over real sockets. Nothing here sleeps for a fixed time: each
//! test waits for what it expects, with a deadline.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;
use jobctl::clock;
use jobctl::engine::time::{Monotonic, Timestamp};
use jobctl::forward::alerts::{
    ChannelSender, Deadlines, Language, Limits, Outbox, Outgoing, SlackChannel, Wording, run,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::notice;

const SECRET: &str = "hunter2hunter2";
const PATIENCE: Duration = Duration::from_secs(20);

const LIMITS: Limits = Limits {
    spacing: Duration::from_millis(20),
    backoff_first: Duration::from_millis(20),
    backoff_max: Duration::from_millis(100),
    retry_after_max: Duration::from_secs(5),
    farewell: Duration::from_millis(200),
};

const DEADLINES: Deadlines = Deadlines { connect: Duration::from_secs(2), total: Duration::from_millis(300) };

/// What the server does with a request.
#[derive(Debug, Clone)]
enum Answer {
    Status(u16, &'static str, String),
    Hang,
}

fn answer(status: u16) -> Answer {
    Answer::Status(status, "", String::new())
}

/// A request as the server saw it.
struct Request {
    at: Monotonic,
    text: String,
}

/// Answers by its script, and with 200 when that is over.
struct Server {
    address: SocketAddr,
    script: Mutex<VecDeque<Answer>>,
    seen: Mutex<Vec<Request>>,
    changed: Notify,
}

impl Server {
    async fn start(script: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            script: Mutex::new(script.into_iter().collect()),
            seen: Mutex::default(),
            changed: Notify::new(),
        });
        let serving = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = Arc::clone(&serving);
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://{}/services/{SECRET}?key={SECRET}", self.address)
    }

    async fn serve(&self, mut stream: TcpStream) {
        while let Some(text) = read_request(&mut stream).await {
            self.seen.lock().unwrap().push(Request { at: clock::now().monotonic, text });
            self.changed.notify_one();
            let next = self.script.lock().unwrap().pop_front().unwrap_or_else(|| answer(200));
            let Answer::Status(status, headers, body) = next else { return std::future::pending().await };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The time between two requests.
    fn gap(&self, first: usize) -> Duration {
        let seen = self.seen.lock().unwrap();
        seen[first + 1].at.since(seen[first].at)
    }

    async fn wait_for(&self, count: usize) {
        wait_until("requests", &self.changed, || self.count() >= count).await;
    }
}

/// Reads one request; the text of its JSON body.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.split("content-length: ").nth(1)?.lines().next()?.parse::<usize>().ok()?;
            if body.len() >= length {
                let body: serde_json::Value = serde_json::from_str(body).ok()?;
                return body["text"].as_str().map(str::to_owned);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn wait_until(what: &str, changed: &Notify, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            changed.notified().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited in vain for {what}");
}

#[derive(Debug, Clone)]
struct Row {
    message: Outgoing,
    next_try_at: Timestamp,
    delivered: Option<Timestamp>,
    errors: Vec<String>,
    marks: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("the disk is full")]
struct DiskFull;

/// An outbox in memory, which can be told to fail.
#[derive(Default)]
struct Memory {
    rows: Mutex<Vec<Row>>,
    failing_marks: Mutex<u32>,
    looks: Mutex<u32>,
    changed: Notify,
}

impl Memory {
    fn put(&self, channel: &str) -> u64 {
        let mut rows = self.rows.lock().unwrap();
        let (id, created_at) = (u64::try_from(rows.len()).unwrap(), clock::now().wall);
        let message = Outgoing { id, channel: channel.to_owned(), notice: notice(), created_at, tries: 0 };
        rows.push(Row { message, next_try_at: created_at, delivered: None, errors: vec![], marks: 0 });
        id
    }

    fn row(&self, id: u64) -> Row {
        self.rows.lock().unwrap()[usize::try_from(id).unwrap()].clone()
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Row)) {
        change(&mut self.rows.lock().unwrap()[usize::try_from(id).unwrap()]);
        self.changed.notify_one();
    }

    fn takes_a_failure(&self) -> bool {
        let mut left = self.failing_marks.lock().unwrap();
        let failing = *left > 0;
        *left = left.saturating_sub(1);
        failing
    }

    async fn wait_for(&self, what: &str, id: u64, done: impl Fn(&Row) -> bool) -> Row {
        wait_until(what, &self.changed, || done(&self.row(id))).await;
        self.row(id)
    }

    async fn delivered(&self, id: u64) -> Row {
        self.wait_for("delivery", id, |row| row.delivered.is_some()).await
    }

    async fn failed(&self, id: u64, times: usize) -> Row {
        self.wait_for("a failed try", id, |row| row.errors.len() >= times).await
    }
}

/// The loop's hold on an outbox that the test looks into.
struct Shared(Arc<Memory>);

impl Outbox for Shared {
    type Error = DiskFull;

    async fn outbox_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Outgoing>, DiskFull> {
        let rows = self.0.rows.lock().unwrap();
        let due = rows.iter().filter(|row| row.delivered.is_none() && row.next_try_at <= now);
        Ok(due.take(limit as usize).map(|row| row.message.clone()).collect())
    }

    async fn outbox_next(&self) -> Result<Option<Timestamp>, DiskFull> {
        *self.0.looks.lock().unwrap() += 1;
        self.0.changed.notify_one();
        let rows = self.0.rows.lock().unwrap();
        Ok(rows.iter().filter(|row| row.delivered.is_none()).map(|row| row.next_try_at).min())
    }

    async fn outbox_delivered(&self, id: u64, at: Timestamp) -> Result<(), DiskFull> {
        if self.0.takes_a_failure() {
            return Err(DiskFull);
        }
        self.0.change(id, |row| {
            row.delivered = Some(at);
            row.marks += 1;
        });
        Ok(())
    }

    async fn outbox_failed(&self, id: u64, next_try_at: Timestamp, error: &str) -> Result<(), DiskFull> {
        self.0.change(id, |row| {
            row.next_try_at = next_try_at;
            row.message.tries += 1;
            row.errors.push(error.to_owned());
        });
        Ok(())
    }
}

/// The loop at work on an outbox.
struct Running {
    wake: Arc<Notify>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(outbox: &Arc<Memory>, urls: &[(&str, String)], limits: Limits) -> Self {
        let sender = |url: &String| ChannelSender::Slack(SlackChannel::new(url, DEADLINES).unwrap());
        let channels = urls.iter().map(|(name, url)| ((*name).to_owned(), sender(url))).collect();
        Self::start_with(outbox, channels, limits)
    }

    fn start_with(outbox: &Arc<Memory>, channels: BTreeMap<String, ChannelSender>, limits: Limits) -> Self {
        let (wake, shutdown) = (Arc::new(Notify::new()), CancellationToken::new());
        let wording = Wording::new(Language::Ko, TimeZone::UTC, "erp-1").unwrap();
        let work =
            run(Shared(Arc::clone(outbox)), channels, wording, limits, Arc::clone(&wake), shutdown.clone());
        Self { wake, shutdown, task: tokio::spawn(work) }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the loop ends when told to").unwrap();
    }
}

#[tokio::test]
async fn a_message_is_tried_until_it_is_taken_and_marked_once() {
    let server = Server::start([answer(500), answer(503), answer(200)]).await;
    let outbox = Arc::new(Memory::default());
    let running = Running::start(&outbox, &[("ops", server.url())], LIMITS);
    let id = outbox.put("ops");
    running.wake.notify_one();
    let row = outbox.delivered(id).await;
    assert_eq!(row.errors, ["the channel answered 500: ", "the channel answered 503: "]);
    running.stop().await;
    assert_eq!((outbox.row(id).marks, server.count()), (1, 3));
    let text = server.seen.lock().unwrap()[2].text.clone();
    assert!(text.starts_with("⚠️ invoice_generation 타임아웃\n시작: "), "{text}");
}

#[tokio::test]
async fn an_idle_loop_does_not_poll() {
    let outbox = Arc::new(Memory::default());
    let server = Server::start([]).await;
    let running = Running::start(&outbox, &[("ops", server.url())], LIMITS);
    let id = outbox.put("ops");
    running.wake.notify_one();
    outbox.delivered(id).await;
    let looks = *outbox.looks.lock().unwrap();
    let more = tokio::time::timeout(LIMITS.spacing * 15, async {
        wait_until("a look at the outbox", &outbox.changed, || *outbox.looks.lock().unwrap() > looks + 2)
            .await;
    });
    assert!(more.await.is_err(), "it looked again though nothing was due");
    running.stop().await;
}

#[tokio::test]
async fn retry_after_is_obeyed_by_all_messages_of_the_channel() {
    let busy = Answer::Status(429, "Retry-After: 1\r\n", "slow down".into());
    let server = Server::start([busy]).await;
    let outbox = Arc::new(Memory::default());
    let ids = [outbox.put("ops"), outbox.put("ops")];
    let running = Running::start(&outbox, &[("ops", server.url())], LIMITS);
    for id in ids {
        outbox.delivered(id).await;
    }
    running.stop().await;
    assert_eq!(outbox.row(ids[0]).errors, ["the channel answered 429: slow down"]);
    assert!(server.gap(0) >= Duration::from_secs(1), "{:?}", server.gap(0));
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn retry_after_has_a_limit() {
    let busy = Answer::Status(429, "Retry-After: 86400\r\n", String::new());
    let server = Server::start([busy]).await;
    let outbox = Arc::new(Memory::default());
    let id = outbox.put("ops");
    let limits = Limits { retry_after_max: Duration::from_millis(50), ..LIMITS };
    let running = Running::start(&outbox, &[("ops", server.url())], limits);
    outbox.delivered(id).await;
    running.stop().await;
}

#[tokio::test]
async fn a_channel_that_hangs_meets_the_deadline_and_is_tried_again() {
    let server = Server::start([Answer::Hang]).await;
    let outbox = Arc::new(Memory::default());
    let id = outbox.put("ops");
    let running = Running::start(&outbox, &[("ops", server.url())], LIMITS);
    let row = outbox.delivered(id).await;
    assert_eq!(row.errors, ["the channel did not answer in time"]);
    running.stop().await;
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let elsewhere = Server::start([]).await;
    let location = format!("Location: {}\r\n", elsewhere.url()).leak();
    let server = Server::start([Answer::Status(307, location, String::new())]).await;
    let outbox = Arc::new(Memory::default());
    let id = outbox.put("ops");
    let running = Running::start(&outbox, &[("ops", server.url())], LIMITS);
    let row = outbox.delivered(id).await;
    assert_eq!(row.errors, ["the channel answered 307: "]);
    assert_eq!((elsewhere.count(), server.count()), (0, 2));
    running.stop().await;
}

#[tokio::test]
async fn a_refused_connection_is_told_without_the_secret() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let outbox = Arc::new(Memory::default());
    let id = outbox.put("ops");
    let url = format!("http://user:{SECRET}@{address}/services/{SECRET}");
    let running = Running::start(&outbox, &[("ops", url)], LIMITS);
    let row = outbox.failed(id, 2).await;
    assert!(row.errors[0].starts_with("the channel could not be reached: Connection refused"), "{row:?}");
    assert!(!format!("{row:?}").contains(SECRET), "{row:?}");
    running.stop().await;
}

#[tokio::test]
async fn an_error_page_that_quotes_the_url_tells_no_secret_and_little_else() {
    let page = format!("Cannot POST /services/{SECRET}?key={SECRET} <!channel>\n{}", "x".repeat(200_000));
    let server = Server::start([Answer::Status(404, "", page)]).await;
    let outbox = Arc::new(Memory::default());
    let id = outbox.put("ops");
    let running = Running::start(&outbox, &[("ops", server.url())], LIMITS);
    let error = outbox.delivered(id).await.errors.remove(0);
    assert!(
        error.starts_with("the channel answered 404: Cannot POST ***?*** &lt;!channel&gt; xxx"),
        "{error}"
    );
    assert!(!error.contains(SECRET) && error.chars().count() <= 250, "{error}");
    running.stop().await;
}

#[tokio::test]
async fn a_channel_that_hangs_does_not_hold_up_another() {
    let hanging = Server::start(std::iter::repeat_n(Answer::Hang, 1_000)).await;
    let working = Server::start([]).await;
    let outbox = Arc::new(Memory::default());
    // More than a page of older messages for the dead channel.
    let stuck: Vec<u64> = (0..150).map(|_| outbox.put("dead")).collect();
    let ids: Vec<u64> = (0..3).map(|_| outbox.put("ops")).collect();
    let channels = [("dead", hanging.url()), ("ops", working.url())];
    let start = clock::now().monotonic;
    let running = Running::start(&outbox, &channels, LIMITS);
    for id in ids {
        outbox.delivered(id).await;
    }
    hanging.wait_for(1).await;
    assert!(stuck.iter().all(|&id| outbox.row(id).delivered.is_none()));
    let third = working.seen.lock().unwrap()[2].at;
    assert!(third.since(start) >= LIMITS.spacing * 2, "three messages leave at least two spacings apart");
    running.stop().await;
}

#[tokio::test]
async fn what_is_pending_at_the_start_is_delivered() {
    let server = Server::start([]).await;
    let outbox = Arc::new(Memory::default());
    let first = Running::start(&outbox, &[("ops", "http://127.0.0.1:1/".to_owned())], LIMITS);
    let id = outbox.put("ops");
    first.wake.notify_one();
    outbox.failed(id, 1).await;
    first.stop().await;
    assert!(outbox.row(id).delivered.is_none());
    let second = Running::start(&outbox, &[("ops", server.url())], LIMITS);
    outbox.delivered(id).await;
    second.stop().await;
    assert_eq!((outbox.row(id).marks, server.count()), (1, 1));
}

#[tokio::test]
async fn a_mark_that_fails_is_written_later_and_nothing_is_sent_twice() {
    let server = Server::start([]).await;
    let outbox = Arc::new(Memory::default());
    *outbox.failing_marks.lock().unwrap() = 2;
    let id = outbox.put("ops");
    let running = Running::start(&outbox, &[("ops", server.url())], LIMITS);
    outbox.delivered(id).await;
    running.stop().await;
    assert_eq!((outbox.row(id).marks, server.count()), (1, 1));
}

#[tokio::test]
async fn a_message_on_its_way_at_the_stop_stays_due() {
    let server = Server::start([Answer::Hang]).await;
    let outbox = Arc::new(Memory::default());
    let id = outbox.put("ops");
    let limits = Limits { farewell: Duration::from_millis(1), ..LIMITS };
    let running = Running::start(&outbox, &[("ops", server.url())], limits);
    server.wait_for(1).await;
    running.stop().await;
    assert!(outbox.row(id).delivered.is_none());
}

#[tokio::test]
async fn a_channel_that_is_missing_or_broken_keeps_its_messages_and_says_why() {
    let outbox = Arc::new(Memory::default());
    let ids = [outbox.put("gone"), outbox.put("ops")];
    let reason = "/etc/jobd/slack-webhook: No such file or directory".to_owned();
    let channels = BTreeMap::from([("ops".to_owned(), ChannelSender::Degraded { reason })]);
    let running = Running::start_with(&outbox, channels, LIMITS);
    let gone = outbox.failed(ids[0], 2).await;
    assert_eq!(gone.errors[0], "no channel \"gone\" in the configuration");
    let broken = outbox.failed(ids[1], 2).await;
    assert!(broken.errors[0].ends_with("cannot be used: /etc/jobd/slack-webhook: No such file or directory"));
    running.stop().await;
}

#[tokio::test]
async fn many_messages_of_a_missing_channel_are_each_counted_once_a_try() {
    let server = Server::start([]).await;
    let outbox = Arc::new(Memory::default());
    let ids: Vec<u64> = (0..150).map(|_| outbox.put("gone")).collect();
    let wait = Duration::from_mins(1);
    let limits = Limits { backoff_first: wait, backoff_max: wait, ..LIMITS };
    let running = Running::start(&outbox, &[("ops", server.url())], limits);
    outbox.failed(ids[149], 1).await;
    running.stop().await;
    assert!(ids.iter().all(|&id| outbox.row(id).errors.len() == 1));
}

#[tokio::test]
async fn a_clock_set_back_does_not_hold_a_message() {
    let server = Server::start([]).await;
    let outbox = Arc::new(Memory::default());
    let id = outbox.put("ops");
    outbox.change(id, |row| row.next_try_at = row.next_try_at.checked_add(Duration::from_hours(3)).unwrap());
    let running = Running::start(&outbox, &[("ops", server.url())], LIMITS);
    outbox.delivered(id).await;
    running.stop().await;
}
