//! What captures are made of: packets as they are seen, with the bytes that a wire would have had. Which packet stands in which
//! file is netmodel's; files are written elsewhere.

mod bytes;

pub(super) use bytes::udp_checksum;

use std::time::Duration;

use netsplit_netmodel::capture::{Point, Remark, Sight};

use super::packet::Packet;
use super::{HostIndex, Nanos};

/// Is shown every packet that passes between hosts at each point of its way, ports being hosts by number, and what gives its
/// bytes from its IP header on, with right checksums. A bit that is flipped is flipped.
pub type Watcher = Box<dyn FnMut(&Sight<'_>, &dyn Fn() -> Vec<u8>) + Send>;

/// A packet at a point of its way. `None` for `to`: its receivers were all seen.
pub(super) fn show(
    watcher: &mut Watcher,
    names: &[String],
    (at, packet, to): (Nanos, &Packet, Option<HostIndex>),
    point: Point,
    remark: Remark,
) {
    let sight = Sight {
        at: Duration::from_nanos(at),
        from: packet.from.at(),
        to: to.map(HostIndex::at),
        point,
        remark,
        is_shared: packet.is_shared,
        names,
    };
    watcher(&sight, &|| {
        let mut bytes = bytes::of(packet);
        if let Remark::Arrived { flipped_bit: Some(bit), .. } = remark {
            let byte = usize::try_from(bit / 8).ok().and_then(|byte| bytes.get_mut(byte));
            byte.into_iter().for_each(|byte| *byte ^= 0x80 >> (bit % 8));
        }
        bytes
    });
}
