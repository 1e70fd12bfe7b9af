// The server under test. The runner (tests/clients/run) starts it and sets these variables.

function variable(name) {
    const value = process.env[name];
    if (!value) throw new Error(`${name} is not set: start these tests with tests/clients/run`);
    return value;
}

export const server = {
    /** Where clients reach it. */
    url: variable("CHAPPE_TCHAP_URL"),
    /** The part after the colon of its user ids. */
    name: variable("CHAPPE_TCHAP_NAME"),
    /** The folder of the mails that it would have sent. */
    outbox: variable("CHAPPE_TCHAP_OUTBOX"),
};
