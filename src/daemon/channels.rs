//! From the channels of the configuration to the alert forwarder.

use std::collections::BTreeMap;

use tracing::warn;

use super::causes;
use crate::config::{self, Channel};
use crate::engine::job::ChannelName;
use crate::forward::alerts::{ChannelSender, Deadlines, Language, SlackChannel};

/// Every channel of the configuration, ready to send. One whose secret cannot be read is degraded: its messages wait,
/// visibly, and are delivered once it is mended and jobd restarted.
pub(super) fn senders(channels: &BTreeMap<ChannelName, Channel>) -> BTreeMap<String, ChannelSender> {
    channels.iter().map(|(name, channel)| (name.clone(), sender(name, channel))).collect()
}

/// The configuration's language in the forwarder's terms.
pub(super) const fn language(language: config::Language) -> Language {
    match language {
        config::Language::Ko => Language::Ko,
        config::Language::En => Language::En,
    }
}

fn sender(name: &str, channel: &Channel) -> ChannelSender {
    let Channel::Slack { url } = channel;
    let made = url.read().map_err(|error| causes(&error)).and_then(|url| {
        SlackChannel::new(url.expose(), Deadlines::default()).map_err(|error| causes(&error))
    });
    made.map_or_else(
        |reason| {
            warn!(channel = name, "alerts cannot be sent: {reason}");
            ChannelSender::Degraded { reason }
        },
        ChannelSender::Slack,
    )
}
