"""Who may do what on which records and fields: the policy, decisions, row scope, grants, and explanations of them."""
