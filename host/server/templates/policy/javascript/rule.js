// A policy rule for Keygate: in guarded key rings nobody deletes keys, nor takes them out.

// The actions that this rule has something to say to. The gateway does not even ask about others.
// `patch` moves keys to other rings, where they could be deleted.
const ACTIONS = ['kms.secrets.delete', 'kms.secrets.patch'];

// The ids of the guarded rings, from the operator's `settings = { rings = ["prod"] }`. A sandbox lives for one call, and
// is given its settings first.
let rings = [];

export const rule = {
  configure(settings) {
    const given = JSON.parse(settings);
    for (const name of Object.keys(given)) {
      if (name !== 'rings') throw { path: name, message: 'there is no such setting; the only one is `rings`' };
    }
    if (!Array.isArray(given.rings) || !given.rings.every((ring) => typeof ring === 'string')) {
      throw { path: 'rings', message: 'expected a list of the ids of key rings, such as ["prod"]' };
    }
    rings = given.rings;
  },

  describe() {
    return { name: '{{name}}', version: '0.1.0', actions: ACTIONS };
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
  const ring = request.target.keyRing;
  if (!ACTIONS.includes(request.action) || !rings.includes(ring)) {
    // No objection. It is for another rule, such as the built-in `access`, to say yes.
    return { tag: 'abstain' };
  }
  let message = `Keys in the ring ${ring} cannot be deleted.`;
  if (request.action === 'kms.secrets.patch') {
    const facts = new Map(request.attributes);
    // Without it, something else about the key changes.
    if ((facts.get('new-ring') ?? ring) === ring) return { tag: 'abstain' };
    message = `Keys in the ring ${ring} stay in it.`;
  }
  return { tag: 'deny', val: { kind: 'conflict', code: 'RING_GUARDED_ERR', message } };
}
