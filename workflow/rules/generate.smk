# Generation and likelihoods: GPU jobs ask runs and untrained models, local rules publish each result by itself.


rule generate:
    input:
        inputs_of_generate,
    output:
        update(touch("results/batches/generate-{batch}.done")),
    log:
        "results/logs/generate/{batch}.log",
    conda:
        "../../envs/gpu.yaml"
    resources:
        gpu=gpus_of_generate,
        cpus_per_task=2,
        # All GPUs of a job on one node: its processes are started there.
        nodes=1,
        mem_mb=memory_of("generate"),
        runtime=minutes_of("generate"),
    params:
        members=members_of("generate"),
    message:
        in_log("ask {params.members}")
    # Without a shell around it, which would die of Slurm's SIGTERM, and the job with it, before the work is saved.
    shell:
        "exec python -m loragrid generate results/batches/generate-{wildcards.batch}.json >> {log} 2>&1"


rule publish_generations:
    input:
        batch_of_answers,
    output:
        update("results/{subject}/eval/{evaluation}/generations.jsonl"),
        update("results/{subject}/eval/{evaluation}/generation.json"),
    log:
        "results/logs/publish_generations/{subject}/{evaluation}.log",
    retries: 0
    conda:
        "../../envs/cpu.yaml"
    params:
        answers=answers_in_words,
    message:
        in_log("publish the answers of {params.answers}")
    shell:
        f"{PUBLISHED} python -m loragrid publish results/{{wildcards.subject}}/eval/{{wildcards.evaluation}} {{output}} > {{log}} 2>&1"
