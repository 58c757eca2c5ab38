-- Generated from farm_merge/models.py by `python -m farm_merge.models`; edit there.

CREATE TABLE experiments (
    experiment_id VARCHAR(64) NOT NULL,
    name VARCHAR(255) NOT NULL,
    description VARCHAR(4096),
    hypothesis VARCHAR(2048),
    creation_date DATETIME,
    last_updated DATETIME,
    status VARCHAR(50),
    tags JSON,
    variables JSON,
    results_summary JSON,
    notes VARCHAR(4096),
    PRIMARY KEY (experiment_id)
) WITHOUT ROWID;

CREATE TABLE simulations (
    simulation_id VARCHAR(64) NOT NULL,
    experiment_id VARCHAR(64),
    start_time DATETIME,
    end_time DATETIME,
    status VARCHAR(50),
    parameters JSON NOT NULL,
    results_summary JSON,
    simulation_db_path VARCHAR(255) NOT NULL,
    seed INTEGER,
    git_commit VARCHAR(64),
    host VARCHAR(255),
    python_version VARCHAR(50),
    package_versions JSON,
    PRIMARY KEY (simulation_id),
    FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id)
) WITHOUT ROWID;

CREATE TABLE agents (
    simulation_id VARCHAR(64) NOT NULL,
    agent_id VARCHAR(64) NOT NULL,
    birth_time INTEGER,
    death_time INTEGER,
    agent_type VARCHAR(50),
    position_x FLOAT,
    position_y FLOAT,
    initial_resources FLOAT,
    starting_health FLOAT,
    genome_id VARCHAR(64),
    generation INTEGER,
    action_weights JSON,
    PRIMARY KEY (simulation_id, agent_id),
    FOREIGN KEY(simulation_id) REFERENCES simulations (simulation_id)
) WITHOUT ROWID;

CREATE TABLE merged_shards (
    simulation_id VARCHAR(64) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    source_path VARCHAR(4096) NOT NULL,
    source_schema VARCHAR(64) NOT NULL,
    size_bytes INTEGER NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    merged_at DATETIME NOT NULL,
    row_counts JSON NOT NULL,
    choices JSON NOT NULL,
    software JSON NOT NULL,
    PRIMARY KEY (simulation_id, fingerprint),
    FOREIGN KEY(simulation_id) REFERENCES simulations (simulation_id)
) WITHOUT ROWID;

CREATE TABLE resource_states (
    id INTEGER NOT NULL,
    simulation_id VARCHAR(64) NOT NULL,
    step_number INTEGER,
    resource_id VARCHAR(64),
    amount FLOAT,
    position_x FLOAT,
    position_y FLOAT,
    PRIMARY KEY (simulation_id, id),
    FOREIGN KEY(simulation_id) REFERENCES simulations (simulation_id)
) WITHOUT ROWID;

CREATE TABLE simulation_config (
    simulation_id VARCHAR(64) NOT NULL,
    config_id INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    config_data VARCHAR(4096) NOT NULL,
    PRIMARY KEY (simulation_id, config_id),
    FOREIGN KEY(simulation_id) REFERENCES simulations (simulation_id)
) WITHOUT ROWID;

CREATE TABLE simulation_steps (
    step_number INTEGER NOT NULL,
    simulation_id VARCHAR(64) NOT NULL,
    total_agents INTEGER,
    agent_type_counts JSON,
    total_resources FLOAT,
    average_agent_resources FLOAT,
    births INTEGER,
    deaths INTEGER,
    current_max_generation INTEGER,
    resource_efficiency FLOAT,
    resource_distribution_entropy FLOAT,
    average_agent_health FLOAT,
    average_agent_age INTEGER,
    average_reward FLOAT,
    genetic_diversity FLOAT,
    dominant_genome_ratio FLOAT,
    resources_consumed FLOAT,
    PRIMARY KEY (simulation_id, step_number),
    FOREIGN KEY(simulation_id) REFERENCES simulations (simulation_id)
) WITHOUT ROWID;

CREATE TABLE agent_actions (
    action_id INTEGER NOT NULL,
    simulation_id VARCHAR(64) NOT NULL,
    step_number INTEGER NOT NULL,
    agent_id VARCHAR(64) NOT NULL,
    action_type VARCHAR(20) NOT NULL,
    action_target_id VARCHAR(64),
    reward FLOAT,
    details VARCHAR(1024),
    module_type VARCHAR(50),
    module_id VARCHAR(64),
    PRIMARY KEY (simulation_id, action_id),
    FOREIGN KEY(simulation_id, agent_id) REFERENCES agents (simulation_id, agent_id),
    FOREIGN KEY(simulation_id) REFERENCES simulations (simulation_id)
) WITHOUT ROWID;

CREATE TABLE agent_states (
    id VARCHAR(128) GENERATED ALWAYS AS (simulation_id || ':' || agent_id || '-' || step_number) VIRTUAL,
    simulation_id VARCHAR(64) NOT NULL,
    step_number INTEGER NOT NULL,
    agent_id VARCHAR(64) NOT NULL,
    position_x FLOAT,
    position_y FLOAT,
    position_z FLOAT,
    resource_level FLOAT,
    current_health FLOAT,
    starting_health FLOAT,
    starvation_counter INTEGER,
    is_defending BOOLEAN,
    total_reward FLOAT,
    age INTEGER,
    PRIMARY KEY (simulation_id, step_number, agent_id),
    FOREIGN KEY(simulation_id, agent_id) REFERENCES agents (simulation_id, agent_id),
    FOREIGN KEY(simulation_id) REFERENCES simulations (simulation_id)
) WITHOUT ROWID;

CREATE TABLE health_incidents (
    incident_id INTEGER NOT NULL,
    simulation_id VARCHAR(64) NOT NULL,
    step_number INTEGER NOT NULL,
    agent_id VARCHAR(64) NOT NULL,
    health_before FLOAT,
    health_after FLOAT,
    cause VARCHAR(50) NOT NULL,
    details VARCHAR(512),
    PRIMARY KEY (simulation_id, incident_id),
    FOREIGN KEY(simulation_id, agent_id) REFERENCES agents (simulation_id, agent_id),
    FOREIGN KEY(simulation_id) REFERENCES simulations (simulation_id)
) WITHOUT ROWID;
