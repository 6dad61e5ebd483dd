//! From the channels of the configuration to the alert forwarder.

use std::collections::BTreeMap;

use tracing::warn;

use super::causes;
use crate::config::{Channel, Config};
use crate::forward::alerts::{ChannelSender, Deadlines, SlackChannel};

/// Every channel of the configuration, ready to send. One whose secret cannot be read is degraded: its messages wait,
/// visibly, and are delivered once it is mended and jobd restarted.
pub(super) fn senders(config: &Config) -> BTreeMap<String, ChannelSender> {
    config.channels.iter().map(|(name, channel)| (name.clone(), sender(name, channel))).collect()
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
