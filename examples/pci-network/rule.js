// Keys with a certain tag are used from certain networks only.
//
//     [[plugins]]
//     name = "pci-network"
//     file = "target/plugins/examples/pci-network.wasm"
//     sha256_file = "target/plugins/examples/pci-network.wasm.sha256"
//     world = "policy-rule"
//     grants = { log = true }
//     limits = { deadline = "5s", memory = "64MiB" }
//     settings = { tag = "pci", networks = ["10.0.0.0/8"] }
//
//     [policy]
//     chain = ["access", "pci-network"]
//
// The rule never says yes: keep one in the chain, such as `access`, that does. A tag is part of a key's metadata: whoever
// may change the tags of a key may take it out of this rule's care.

import { contains, parseNetwork } from './ip.js';

const SETTINGS = ['tag', 'networks'];

// What `configure` read. A sandbox lives for one call, so this is never another call's.
let tag = 'pci';
let networks = [];
let named = '';

export const rule = {
  configure(settings) {
    const given = JSON.parse(settings);
    const unknown = Object.keys(given).find((name) => !SETTINGS.includes(name));
    if (unknown !== undefined) refuse(unknown, 'there is no such setting; there are `tag` and `networks`');
    tag = given.tag ?? 'pci';
    if (typeof tag !== 'string' || tag === '') refuse('tag', 'expected a tag, such as "pci"');
    const texts = given.networks ?? ['10.0.0.0/8'];
    if (!Array.isArray(texts) || texts.length === 0) refuse('networks', 'expected a list such as ["10.0.0.0/8"]');
    networks = texts.map((text, place) => {
      const network = parseNetwork(text);
      if (network === undefined) refuse(`networks.${place}`, `${JSON.stringify(text)} is no network such as 10.0.0.0/8 or fd00::/8`);
      return network;
    });
    named = texts.join(', ');
  },

  describe() {
    // No list of actions: whatever is done to such a key is this rule's business.
    return { name: 'pci-network', version: '0.1.0', actions: [] };
  },

  evaluate(request) {
    try {
      return { decision: decide(request), memo: undefined };
    } catch (error) {
      // A text is for the operator's log, and counts as a refusal. An Error would be a trap that says nothing.
      throw `${error}\n${error?.stack ?? ''}`;
    }
  },
};

function decide(request) {
  const { key } = request.target;
  if (key === undefined || !key.tags.includes(tag)) return { tag: 'abstain' };
  const { address } = request.network;
  // Without an address nobody can say where it comes from.
  if (address !== undefined && networks.some((network) => contains(network, address))) return { tag: 'abstain' };
  const message = `Keys tagged ${tag} can only be used from ${named}.`;
  return { tag: 'deny', val: { kind: 'forbidden', code: 'PCI_NETWORK_ERR', message: message.slice(0, 500) } };
}

// A settings error, as the contract has it.
function refuse(path, message) {
  throw { path, message };
}
