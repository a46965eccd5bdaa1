/** Something a person can mend; its message is shown as it is. */
export class UserError extends Error {}
