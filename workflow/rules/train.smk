# Training: GPU jobs work on batches of runs, a local rule publishes each run by itself.


rule train:
    input:
        inputs_of_train,
    output:
        update(touch("results/batches/train-{batch}.done")),
    log:
        "results/logs/train/{batch}.log",
    conda:
        "../../envs/gpu.yaml"
    resources:
        gpu=gpus_of_train,
        cpus_per_task=cpus_of_train,
        # All GPUs of a job on one node: its processes are started there.
        nodes=1,
        mem_mb=memory_of("train"),
        runtime=minutes_of("train"),
    params:
        members=members_of("train"),
        gpus=gpus_given,
        minutes=CHECKPOINT_MINUTES,
        reports="".join(f" --report-to {name}" for name in REPORT_TO),
    message:
        in_log("train {params.members}")
    # Without a shell around it, which would die of Slurm's SIGTERM, and the job with it, before the work is saved.
    shell:
        "exec python -m loragrid train results/batches/train-{wildcards.batch}.json --gpus {params.gpus}"
        " --checkpoint-minutes {params.minutes}{params.reports} >> {log} 2>&1"


# What runs by DPO are compared with: their pairs as the parent, or the untrained model, sees them.
rule log_probabilities:
    input:
        inputs_of_log_probabilities,
    output:
        update(touch("results/batches/log_probabilities-{batch}.done")),
    log:
        "results/logs/log_probabilities/{batch}.log",
    conda:
        "../../envs/gpu.yaml"
    resources:
        gpu=gpus_of_log_probabilities,
        cpus_per_task=2,
        # All GPUs of a job on one node: its processes are started there.
        nodes=1,
        mem_mb=memory_of("log_probabilities"),
        runtime=minutes_of("log_probabilities"),
    params:
        members=members_of("log_probabilities"),
    message:
        in_log("compare with {params.members}")
    # Without a shell around it, which would die of Slurm's SIGTERM, and the job with it, before the work is saved.
    shell:
        "exec python -m loragrid log_probabilities results/batches/log_probabilities-{wildcards.batch}.json"
        " >> {log} 2>&1"


rule publish_run:
    input:
        batch_of_run,
    output:
        update("results/runs/{model}/{dataset}/{run}/training.jsonl"),
        update("results/runs/{model}/{dataset}/{run}/adapter/adapter_config.json"),
        update("results/runs/{model}/{dataset}/{run}/adapter/adapter_model.safetensors"),
        update("results/runs/{model}/{dataset}/{run}/run.json"),
    log:
        "results/logs/publish_run/{model}/{dataset}/{run}.log",
    retries: 0
    conda:
        "../../envs/cpu.yaml"
    params:
        run=run_in_words,
    message:
        in_log("publish {params.run}")
    shell:
        f"{PUBLISHED} python -m loragrid publish results/runs/{{wildcards.model}}/{{wildcards.dataset}}/{{wildcards.run}}"
        " {output} > {log} 2>&1"
