// The official Node SDK, unchanged but for its URL, on what most programs use of the API.
//
// Reads what `keygate serve --dev --json` printed from KEYGATE_READY, and where the SDK was installed from
// KEYGATE_TEST_NODE_MODULES. The gateway must be in dev mode and new. Fails by an exception.

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { constants, createCipheriv, createPublicKey, publicEncrypt, randomBytes, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';

const require = createRequire(join(process.env.KEYGATE_TEST_NODE_MODULES, '..', 'surface.mjs'));
const KeyProtectV2 = require('@ibm-cloud/ibm-key-protect/ibm-key-protect-api/v2');
const { IamAuthenticator } = require('@ibm-cloud/ibm-key-protect/auth');

const ready = JSON.parse(process.env.KEYGATE_READY);
const bluemixInstance = ready.instances[0];
const KEY = 'application/vnd.ibm.kms.key+json';
const POLICY = 'application/vnd.ibm.kms.policy+json';
const collection = (collectionType, ...resources) => ({
  metadata: { collectionType, collectionTotal: resources.length },
  resources,
});
const base64 = (data) => Buffer.from(data).toString('base64');

// The SDK leaves the answers to some methods, such as restoreKey, to be read from a stream, and refusals a text.
async function decoded(body) {
  if (typeof body === 'string') return JSON.parse(body);
  return Symbol.asyncIterator in body ? json(body) : body;
}

// Every method that succeeded at least once.
const succeeded = new Set();

// A client that gives every call the instance, and logs in anew after a journey in time.
class Client {
  constructor(identity) {
    this.identity = identity;
    this.logIn();
  }

  logIn() {
    const authenticator = new IamAuthenticator({ apikey: ready.api_keys[this.identity], url: ready.iam_url });
    this.service = new KeyProtectV2({ authenticator, serviceUrl: ready.url });
  }

  async call(method, status, params = {}) {
    const response = await this.service[method]({ bluemixInstance, ...params });
    assert.equal(response.status, status, `${method}: ${response.status}`);
    succeeded.add(method);
    return response;
  }

  // The body of an answer.
  async result(method, status, params) {
    return decoded((await this.call(method, status, params)).result);
  }

  // The only resource of an answer.
  async resource(method, status, params) {
    const { metadata, resources } = await this.result(method, status, params);
    assert.equal(metadata.collectionTotal, 1);
    assert.equal(resources.length, 1);
    return resources[0];
  }

  async refused(method, status, code, params = {}) {
    let refusal;
    try {
      await this.service[method]({ bluemixInstance, ...params });
    } catch (error) {
      refusal = error;
    }
    assert.equal(refusal?.status, status, `${method}: ${refusal}`);
    const [{ reasons = [] }] = (await decoded(refusal.body)).resources;
    assert.equal(reasons[0]?.code, code, method);
  }

  create(name, more = {}, params = {}) {
    const body = collection(KEY, { type: KEY, name, extractable: false, ...more });
    return this.resource('createKey', 201, { body, prefer: 'return=representation', ...params });
  }
}

const manager = new Client('manager');
const reader = new Client('reader');

async function travel(advance) {
  const response = await fetch(`${ready.url}/dev/clock`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ advance }),
  });
  assert.ok(response.ok, await response.text());
  manager.logIn();
  reader.logIn();
}

async function keys() {
  const key = await manager.create('node-root', { description: 'by Node', tags: ['one'] });
  assert.equal(key.state, 1);
  assert.deepEqual(key.tags, ['one']);
  assert.equal(key.payload, undefined);
  const payload = base64('a secret');
  const standard = await manager.create('node-standard', { extractable: true, payload });
  assert.equal((await manager.resource('getKey', 200, { id: standard.id })).payload, payload);
  assert.equal((await manager.resource('getKeyMetadata', 200, { id: standard.id })).payload, undefined);
  const listed = await reader.result('getKeys', 200, { limit: 100, offset: 0, state: [1, 2] });
  assert.deepEqual(listed.resources.map(({ id }) => id).sort(), [key.id, standard.id].sort());
  const head = await reader.call('getKeyCollectionMetadata', 200, { extractable: true });
  assert.equal(head.headers['key-total'], '1');
  await reader.refused('getKey', 401, undefined, { id: key.id });
  await manager.refused('getKeyMetadata', 404, 'KEY_NOT_FOUND_ERR', { id: randomUUID() });
  const none = new Client('nobody');
  await none.refused('getKeys', 401, undefined);
}

async function actions() {
  const { id } = await manager.create('node-actions');
  const plaintext = base64('a data key');
  const aad = ['of', 'Node'];
  const { ciphertext } = await manager.result('wrapKey', 200, { id, keyActionWrapBody: { plaintext, aad } });
  const keyActionUnwrapBody = { ciphertext, aad };
  assert.equal((await manager.result('unwrapKey', 200, { id, keyActionUnwrapBody })).plaintext, plaintext);
  const made = await manager.result('wrapKey', 200, { id, keyActionWrapBody: {} });
  assert.equal(Buffer.from(made.plaintext, 'base64').length, 32);
  await manager.call('rotateKey', 204, { id, keyActionRotateBody: {}, prefer: 'return=representation' });
  await manager.refused('rotateKey', 409, 'KEY_ROTATION_NOT_PERMITTED', { id });
  const versions = await manager.result('getKeyVersions', 200, { id, limit: 10, offset: 0 });
  assert.equal(versions.resources.length, 2);
  const unwrapped = await manager.result('unwrapKey', 200, { id, keyActionUnwrapBody });
  assert.equal(unwrapped.rewrappedKeyVersion.id, versions.resources[0].id);
  const rewrapped = await manager.result('rewrapKey', 200, { id, keyActionRewrapBody: { ciphertext, aad } });
  assert.equal(rewrapped.plaintext, undefined);
  assert.equal(rewrapped.rewrappedKeyVersion.id, versions.resources[0].id);
  await manager.refused('unwrapKey', 422, 'UNPROCESSABLE_CIPHERTEXT_ERR', { id, keyActionUnwrapBody: { ciphertext } });

  await manager.call('disableKey', 204, { id });
  await manager.refused('wrapKey', 409, 'KEY_ACTION_INVALID_STATE_ERR', { id, keyActionWrapBody: {} });
  await manager.refused('enableKey', 409, 'REQ_TOO_EARLY_ERR', { id });
  await travel('31s');
  await manager.call('enableKey', 204, { id });
  await travel('1h');
  await manager.call('syncAssociatedResources', 204, { id });
}

async function policies() {
  const { id } = await manager.create('node-policies');
  const rotation = { enabled: true, interval_month: 4 };
  const setKeyPoliciesOneOf = collection(POLICY, { type: POLICY, rotation });
  const written = await manager.resource('putPolicy', 200, { id, setKeyPoliciesOneOf, policy: 'rotation' });
  assert.deepEqual(written.rotation, rotation);
  assert.deepEqual((await manager.resource('getPolicy', 200, { id })).rotation, rotation);
  await reader.refused('getPolicy', 401, undefined, { id });

  for (const enabled of [true, false]) {
    const policy = { policy_type: 'dualAuthDelete', policy_data: { enabled } };
    await manager.call('putInstancePolicy', 204, { setInstancePoliciesOneOf: collection(POLICY, policy) });
    const read = await manager.resource('getInstancePolicy', 200, { policy: 'dualAuthDelete' });
    assert.equal(read.policy_data.enabled, enabled);
    assert.equal((await manager.create('node-dual')).dualAuthDelete.enabled, enabled);
  }
  assert.deepEqual((await manager.result('getAllowedIpPort', 200)).resources, []);
}

async function dualAuthorization() {
  const { id } = await manager.create('node-dual');
  const setKeyPoliciesOneOf = collection(POLICY, { type: POLICY, dualAuthDelete: { enabled: true } });
  await manager.call('putPolicy', 200, { id, setKeyPoliciesOneOf, policy: 'dualAuthDelete' });
  await manager.refused('deleteKey', 409, 'AUTHORIZATIONS_NOT_MET', { id });
  await manager.call('setKeyForDeletion', 204, { id });
  await manager.call('unsetKeyForDeletion', 204, { id });
  await manager.call('setKeyForDeletion', 204, { id });
  await new Client('manager2').call('deleteKey', 204, { id });
}

async function ringsAndAliases() {
  const keyRingId = `node-ring-${randomBytes(4).toString('hex')}`;
  await manager.call('createKeyRing', 201, { keyRingId });
  const rings = await reader.result('listKeyRings', 200);
  assert.deepEqual(rings.resources.map(({ id }) => id).sort(), ['default', keyRingId].sort());
  const key = await manager.create('node-ring', {}, { xKmsKeyRing: keyRingId });
  assert.equal(key.keyRingID, keyRingId);
  const alias = `node-${randomBytes(4).toString('hex')}`;
  assert.equal((await manager.resource('createKeyAlias', 201, { id: key.id, alias })).keyId, key.id);
  assert.equal((await manager.resource('getKeyMetadata', 200, { id: alias })).id, key.id);
  await manager.call('deleteKeyAlias', 204, { id: key.id, alias });
  await manager.refused('deleteKeyRing', 409, 'KEY_RING_NOT_EMPTY_ERR', { keyRingId });
  const empty = `node-ring-${randomBytes(4).toString('hex')}`;
  await manager.call('createKeyRing', 201, { keyRingId: empty });
  await manager.call('deleteKeyRing', 204, { keyRingId: empty });
}

async function importTokens() {
  const made = await manager.result('postImportToken', 200, { expiration: 600, maxAllowedRetrievals: 1 });
  assert.equal(made.remainingRetrievals, 1);
  const token = await manager.result('getImportToken', 200);
  assert.equal(token.remainingRetrievals, 0);
  await manager.refused('getImportToken', 409, 'IMPORT_TOKEN_EXPIRED_ERR');

  const material = randomBytes(32);
  const iv = randomBytes(12);
  const key = createPublicKey(Buffer.from(token.payload, 'base64'));
  const oaep = { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' };
  const cipher = createCipheriv('aes-256-gcm', material, iv);
  const nonce = [cipher.update(Buffer.from(token.nonce, 'base64')), cipher.final(), cipher.getAuthTag()];
  const imported = await manager.create('node-imported', {
    payload: base64(publicEncrypt(oaep, material)),
    encryptedNonce: base64(Buffer.concat(nonce)),
    iv: base64(iv),
    encryptionAlgorithm: 'RSAES_OAEP_SHA_256',
  });
  assert.equal(imported.imported, true);
  assert.ok((await manager.result('wrapKey', 200, { id: imported.id, keyActionWrapBody: {} })).ciphertext);
}

async function deleteAndRestore() {
  const { id } = await manager.create('node-delete');
  const gone = await manager.resource('deleteKey', 200, { id, prefer: 'return=representation', force: false });
  assert.equal(gone.state, 5);
  assert.equal(gone.deleted, true);
  await manager.refused('wrapKey', 410, 'KEY_DELETED_ERR', { id, keyActionWrapBody: {} });
  await manager.refused('restoreKey', 409, 'REQ_TOO_EARLY_ERR', { id });
  await travel('31s');
  const back = await manager.resource('restoreKey', 201, { id, prefer: 'return=representation' });
  assert.equal(back.state, 1);
  await manager.call('deleteKey', 204, { id });
}

async function registrations() {
  const { id } = await manager.create('node-registrations');
  assert.deepEqual((await reader.result('getRegistrations', 200, { id, totalCount: true })).resources, []);
  assert.deepEqual((await reader.result('getRegistrationsAllKeys', 200)).resources, []);
}

async function everyMethodSucceeded() {
  const methods = Object.getOwnPropertyNames(KeyProtectV2.prototype).filter((name) => name !== 'constructor');
  assert.deepEqual(methods.filter((name) => !succeeded.has(name)), []);
}

const parts = [
  keys,
  actions,
  policies,
  dualAuthorization,
  ringsAndAliases,
  importTokens,
  deleteAndRestore,
  registrations,
  everyMethodSucceeded,
];
for (const part of parts) {
  process.stdout.write(`${part.name}: `);
  await part();
  process.stdout.write('ok\n');
}
